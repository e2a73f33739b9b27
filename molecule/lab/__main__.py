"""Makes `python molecule/lab` a program."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this very folder first, where our modules would be found under bare names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from lab.cli import main

    sys.exit(main())
