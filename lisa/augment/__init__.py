"""Augmentation on the batch's device: Kornia's, pasted accessories, textures, faces on clutter."""
