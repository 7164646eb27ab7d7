"""What docs/performance.md quotes, each runnable by anyone with ``python -m benchmarks.<name>``."""
