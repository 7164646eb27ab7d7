"""CelebAMask-HQ's release as a folder of faces: ``python -m lisa.data.celebamask --source S --output O``."""
