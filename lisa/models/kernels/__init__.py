"""Kernels faster than torch's own for these networks' layers; the plain modules serve everywhere else."""
