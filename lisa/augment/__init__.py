"""Augmentation on the batch's device: geometry and appearance by Kornia, pasted accessories."""
