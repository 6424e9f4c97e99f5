"""Lets the tests of this folder import `engine_toys`, which some of them also run as a program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
