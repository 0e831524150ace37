"""``python -m benchmark``: the same program as the console script ``galaxybench``."""

import sys

from benchmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
