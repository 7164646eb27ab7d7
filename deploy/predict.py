#!/usr/bin/env python3
"""A door to deploy/predictor: python deploy/predict.py --model lisa.ts --input photos --output parsed"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python has put this file's folder there

from deploy.predictor.command import main

if __name__ == "__main__":
    sys.exit(main())
