"""What both systems found as one zip file to take home. Standard library and `ovss.segmentation`."""

import re
import tempfile
import zipfile
from pathlib import Path

from ovss.files import write_atomic
from ovss.page.tidy import RESULTS
from ovss.segmentation import Segmentation

MAX_NAME = 80  # letters


def write_archive(folder: Path, found: dict[str, Segmentation]) -> Path:
    """Write `<picture>_ovss.zip` to a new folder below `folder`: a folder of overlay, label PNG and JSON for each key.

    Raises OSError where nothing can be written there.
    """
    stem = _stem(next(iter(found.values())).file)
    target = Path(tempfile.mkdtemp(prefix=RESULTS, dir=folder)) / f"{stem}_ovss.zip"
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for key, result in found.items():
            result.save(Path(work, key), stem)
        files = sorted(path for path in Path(work).rglob("*") if path.is_file())

        def write(out) -> None:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    archive.write(path, path.relative_to(work))

        write_atomic(target, write)
    return target


def _stem(name: str) -> str:
    """A file's name without its end and without what some file system does not take."""
    return re.sub(r"[^\w-]+", "_", Path(name).stem)[:MAX_NAME].strip("_") or "picture"
