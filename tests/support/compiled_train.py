"""distributed.train, compiled without a compiler: ``-m compiled_train ARGUMENTS``, for tests."""

from distributed.exit import finish
from distributed.train import main
from lisa.training import passes

if __name__ == "__main__":
    passes.BACKEND = "aot_eager"
    finish(main)
