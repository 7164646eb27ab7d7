"""The predictor against the report's, written the plain way."""
