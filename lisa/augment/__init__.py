"""Augmentation on the batch's device: geometry and appearance by Kornia, mixing of pictures."""
