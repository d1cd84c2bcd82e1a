"""What a written file says of itself, as JSON: in an ONNX model's metadata_props, beside a torch.export program.

The standard library alone, until a file is read.
"""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovss import __version__
from ovss.model_names import is_name

if TYPE_CHECKING:
    from ovss.export.fixed import Fixed

# The name of the entry in ONNX's metadata_props, and of the extra file in a .pt2.
ENTRY = "ovss"
EXTRA_FILE = "ovss.json"
MAX_BYTES = 2**24  # of it in a .pt2: ten thousand words take less than one
IMAGES, SCORES, LABELS = "images", "scores", "labels"


def describe(fixed: "Fixed", model: str) -> dict[str, Any]:
    """The metadata of a fixed model. `model` is its name, or the file that built it, whose folder is not told."""
    return {
        "version": __version__,
        "model": model if is_name(model) else Path(model).name,
        "architecture": type(fixed.segmentor).__name__,
        "classes": list(fixed.vocabulary.classes),
        "size": list(fixed.module.size),
        "input": {"name": IMAGES, "layout": "BCHW", "type": "float32", "channels": "RGB", "range": [0, 1]},
        "outputs": {SCORES: "BKHW float32", LABELS: "BHW int64"},
        "sliding_window": False,
        "tested_with_sliding_window": fixed.segmentor.sliding_window is not None,
    }


def to_text(metadata: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(metadata, ensure_ascii=False)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a file that `ovss export` wrote, .onnx or .pt2; nothing in it is run.

    Raises:
        ValueError: no such file, a broken one, or one without such metadata.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"exported model {path}: no such file")
    try:
        text = _of_program(path) if path.suffix == ".pt2" else _of_onnx(path)
    except Exception as error:  # protobuf's and zipfile's own, which share nothing
        raise ValueError(f"exported model {path} cannot be read: {error or type(error).__name__}") from error
    if text is None:
        raise ValueError(f"{path} was not written by ovss export: it has no metadata {ENTRY!r}")
    return json.loads(text)


def _of_onnx(path: Path) -> str | None:
    import onnx

    model = onnx.load(path, load_external_data=False)
    return next((entry.value for entry in model.metadata_props if entry.key == ENTRY), None)


def _of_program(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        found = [entry for entry in archive.infolist() if entry.filename.endswith(f"/{EXTRA_FILE}")]
        if found and found[0].file_size > MAX_BYTES:
            raise ValueError(f"{found[0].file_size} bytes of metadata, more than the {MAX_BYTES} that there can be")
        return archive.read(found[0]).decode() if found else None
