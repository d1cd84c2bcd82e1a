"""Label images of PASCAL-Context with 459 classes: `ovss datasets prepare` for this set, no arguments needed."""

import sys
from pathlib import Path

# Run as a file, this folder comes first on the path; a clone needs no install.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from ovss.cli import main

if __name__ == "__main__":
    sys.exit(main(["datasets", "prepare", "pascal_context_459", *sys.argv[1:]]))
