"""Half an hour of one GPU as one command: ``python -m benchmarks.gpu --minutes 30 --data D --output O``."""
