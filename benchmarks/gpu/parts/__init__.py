"""One module per part, each with ``run(bench)``."""
