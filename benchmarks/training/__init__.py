"""Training against the plain loop; its profile, its memory, its fast paths."""
