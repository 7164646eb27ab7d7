"""python lisa.ts, python predict.pyz, and in the checkout python -m deploy.predictor."""

import sys

try:
    if sys.version_info < (3, 11):  # noqa: UP036 - the file meets any Python
        raise ImportError("Python {}.{}".format(*sys.version_info))
    from .command import main
except ImportError as error:
    print(f"error: {error}: this program needs Python 3.11, torch, numpy, Pillow and rich", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)

sys.exit(main())
