"""The work of `ovss export-released`: a trained model in its authors' form. Imported only when it runs."""

import argparse
from functools import partial
from pathlib import Path

import torch

from ovss.files import write_atomic
from ovss.hub import released_tensors


def export_released(args: argparse.Namespace) -> int:
    """Write {"model": tensors under their released names} and return the exit code, 0.

    Raises:
        ValueError: another suffix than .pth, a bad config or weights, or a model that has no released names.
        OSError: the file cannot be written.
    """
    output = Path(args.output)
    if output.suffix != ".pth":
        raise ValueError(f"--output {output}: the name of a checkpoint must end in .pth")
    tensors = released_tensors(args.model or args.config_file, args.opts)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, partial(torch.save, {"model": tensors}))
    print(f"{len(tensors)} tensors written to {output}")
    return 0
