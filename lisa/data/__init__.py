"""Folders of faces: reading them, making them, checking them."""
