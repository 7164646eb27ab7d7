"""What leaves the workshop: the exported file, the predictor that runs it, and their tools."""
