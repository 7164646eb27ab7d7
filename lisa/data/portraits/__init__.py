"""Procedural portraits with exact 19-class masks: one module per part of the picture."""
