"""The names of a run's files. Imports nothing: whoever looks for one need not wait for torch."""

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
"""Checkpoints: the last one, the one before, and the best epoch's weights."""

LOG = "metrics.jsonl"
CONFIG, SUMMARY = "config.json", "summary.json"
