"""The web page from a checkout, `python demo/app.py ...`: the same as `ovss app`."""

import sys

from ovss.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
