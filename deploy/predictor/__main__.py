"""python -m deploy.predictor"""

import sys

from .command import main

sys.exit(main())
