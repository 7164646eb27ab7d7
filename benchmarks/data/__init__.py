"""The loader, and the raw data set's conversion."""
