"""`python -m podtune`: the command."""

import sys

from podtune.command import main

if __name__ == "__main__":
    sys.exit(main())
