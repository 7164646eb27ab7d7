"""Pictures for people: overlays, grids, curves, confusion matrix."""
