"""Let the tests here import pickled.py: ``from pickled import write_ada``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
