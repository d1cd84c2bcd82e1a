"""A torch.export program as an ONNX model, and what runs one. Imports torch, and the packages of ONNX when it runs."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ovss.export.metadata import ENTRY, IMAGES, LABELS, SCORES

OPSET = 18
# Bytes of weights that stand in the file itself; beyond, they do in another beside it. Protobuf takes 2 GiB in all.
MOST_INSIDE = 2 * 10**9
WRITERS, RUNNER = ("onnx", "onnxscript"), "onnxruntime"


def require(packages: tuple[str, ...]) -> None:
    """Raise ValueError that names the first of the packages that is not installed."""
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"ONNX needs the package {name} ({error}): pip install 'ovss[export]'") from error


def save_onnx(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write a program as ONNX; above `MOST_INSIDE` its weights lie beside it in a file of that name and ".data"."""
    import onnx_ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with quiet():
        converted = torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            input_names=[IMAGES],
            output_names=[SCORES, LABELS],
            opset_version=OPSET,
        )
    assert converted is not None
    model = converted.model
    ClearMetadataAndDocStringPass()(model)  # places in the source, as they are on this machine
    model.metadata_props[ENTRY] = metadata
    tensors = [value.const_value for value in model.graph.initializers.values()]
    weights = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    onnx_ir.save(model, path, external_data=f"{path.name}.data" if weights > MOST_INSIDE else None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to themselves what the packages say of their own ways."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def run_onnx(path: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels of a written model, in onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores, labels = session.run([SCORES, LABELS], {IMAGES: images.numpy()})
    return torch.from_numpy(scores), torch.from_numpy(labels)
