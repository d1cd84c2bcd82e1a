"""A fixed model as a torch.export program, with a batch of any size. Imports torch."""

import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ovss.export.fixed import FixedModel
from ovss.export.metadata import EXTRA_FILE

# Of the pictures that the trace is taken of: what it holds for two, it holds for any number.
EXAMPLES = 2


def trace(fixed: FixedModel) -> ExportedProgram:
    """The program of a model, without the pictures that it was traced with and the places in the source."""
    images = torch.zeros(EXAMPLES, 3, *fixed.size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own ways
        program = torch.export.export(fixed, (images,), dynamic_shapes=({0: Dim("batch", min=1)},), strict=False)
    program.example_inputs = None
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", program.graph).nodes:
            node.meta.pop("stack_trace", None)
    return program


def save_program(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write a program as `torch.export.load` reads it, its metadata as an extra file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files={EXTRA_FILE: metadata})


def run_program(path: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels of a written program."""
    module = torch.export.load(path).module()
    with torch.no_grad():
        return module(images)
