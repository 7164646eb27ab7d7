"""Whole photographs: scenes of real faces whose places are known, and what the predictor makes of them."""
