"""A network's figures on a split: counts summed over all ranks, one ratio at the end."""
