"""`python -m trainer`: the same as the command `podtune`."""

import sys

from podtune.command import main

if __name__ == "__main__":
    sys.exit(main())
