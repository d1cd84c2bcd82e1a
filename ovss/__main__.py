"""`python -m ovss` is the command `ovss`."""

import sys

from ovss.cli import main

sys.exit(main())
