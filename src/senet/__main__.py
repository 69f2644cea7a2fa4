"""`python -m senet` is the command `senet`."""

import sys

from senet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
