"""``python -m deblurkit`` is the command ``deblurkit``."""

import sys

from deblurkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
