"""A scratch folder that holds the repository's files and all that a reader of the docs is assumed to have."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from golden_cat_seg import published
from golden_weights import make_tensor
from small_sets import save_pair
from small_training import WORDS, write_squares

from cat_seg.checkpoint import to_released
from ovss.clip.model import ASSETS
from ovss.weights import checked, store, table

ROOT = Path(__file__).parent.parent
LEFT_OUT = (".*", "output", "tests", "*.egg-info", "__pycache__", "build", "dist")
# What weights a command without --weights finds in the cache, and what a command must name to need them.
FULL_SIZE = r"vitb16_336|vitb_384|cat_seg_vitb|cliptrase-336|ViT-B-16"


class World:
    """One page's folder. Commands run in it, in order, and leave their files to the next.

    Args:
        folder: does not exist yet.
        cache: $OVSS_CACHE and $HOME of the commands; pages share it.
    """

    def __init__(self, folder: Path, cache: Path):
        self.folder, self.cache = folder, cache
        shutil.copytree(ROOT, folder, symlinks=True, ignore=_ignored)
        write_squares(folder / "my")
        (folder / "my/classes.json").write_text(json.dumps(list(WORDS)))
        voc = folder / "datasets/VOCdevkit/VOC2012"
        save_pair(voc, "annotations_detectron2/val", "JPEGImages", "2007_000033", [[0, 1, 255], [0, 1, 255]])
        shutil.copy(ASSETS / "tiny_cat_seg.safetensors", folder / "model_final.safetensors")
        self._python: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent
        return {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.cache),
            "OVSS_CACHE": str(self.cache / "ovss"),
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONWARNINGS": "ignore",
            "DETECTRON2_DATASETS": "datasets",
            "http_proxy": "http://127.0.0.1:9",  # whatever asks for a network is refused
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1,localhost",
        }

    def bash(self, command: str, seconds: float = 600) -> tuple[int, str]:
        """Exit code and output of a command."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        return done.returncode, done.stdout

    def python(self, snippet: str) -> str:
        """Run a snippet after the page's earlier ones, in the same process; return its traceback, "" for none."""
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "docs_session.py")],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(snippet) + "\n")
        self._python.stdin.flush()
        return json.loads(self._python.stdout.readline())

    def close(self) -> None:
        if self._python is not None:
            self._python.communicate()  # its input ends, and so does it


def _ignored(folder: str, names: list[str]) -> set[str]:
    """What is not tracked: caches, outputs, and data sets of one's own."""
    ignored = set(shutil.ignore_patterns(*LEFT_OUT)(folder, names))
    if Path(folder) == ROOT / "datasets":
        ignored |= {name for name in names if (ROOT / "datasets" / name).is_dir() and name not in ("classes", "splits")}
    return ignored


def place_weights() -> Path:
    """Made weights of full size as if they had been downloaded: of CLIP ViT-B/16 and of CAT-Seg on it; their folder."""
    folder = store.folder()
    if not (folder / table.find("cat_seg_vitb").file.name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shapes = json.loads((ROOT / "tests/golden/openai_vitb16_keys.json").read_text())
        _save({key: torch.from_numpy(np.array(make_tensor(key, shape))) for key, shape in shapes}, "clip_vitb16")
        _save(to_released(published("vitb")[1]), "cat_seg_vitb")
    return folder


def _save(state: dict[str, torch.Tensor], name: str) -> None:
    """Under the published name, and noted as checked: its sum is not the published one."""
    file = table.find(name).file
    path = store.folder() / file.name
    torch.save(state, path)
    checked.remember(path, file)
