"""Finds what is wrong with a data set: ``python -m lisa.data.doctor --data ROOT``."""
