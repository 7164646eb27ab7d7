#!/usr/bin/env python3
"""A door to deploy/predictor: python deploy/predict.py --input photos --output parsed --gallery

Without --model it parses with the weights in the box (docs/model_card.md).
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python has put this file's folder there

from deploy.boxed import boxed_model
from deploy.predictor.command import main

if __name__ == "__main__":
    sys.exit(main(default_model=boxed_model))
