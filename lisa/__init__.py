"""LISA: train, tune and ship a face parser of under two million parameters."""
