"""Stores a packaged model in half precision, half the size, to be embedded. Imports safetensors and torch.

python -m ovss.assets.halve output/quickstart/cat_seg/model_final.safetensors ovss/assets/tiny_cat_seg.safetensors
"""

import argparse
from operator import methodcaller
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save

from ovss.files import write_atomic


def halve(source: Path, target: Path) -> None:
    """Write `target` with the metadata of `source` and its tensors, those of real numbers in half precision."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    write_atomic(target, methodcaller("write", save(halved, metadata)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="packaged model that training wrote")
    parser.add_argument("target", type=Path, help="file to write")
    args = parser.parse_args()
    halve(args.source, args.target)


if __name__ == "__main__":
    main()
