"""What docs/performance.md, reliability.md and data.md quote: ``python -m benchmarks.<name>``, for anyone."""
