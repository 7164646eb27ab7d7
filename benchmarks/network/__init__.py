"""Training over slow and long links: measured on two hosts of one machine, and modelled for many."""
