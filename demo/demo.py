"""Detectron2's habit, `python demo/demo.py --config-file ... --input ... --output ...`: the same as `ovss segment`."""

import sys

from ovss.cli import main

if __name__ == "__main__":
    sys.exit(main(["segment", *sys.argv[1:]]))
