"""A table of small made-up weights on a server of this machine, and empty caches in place of the user's."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from file_server import FileServer, Served, serve

from ovss.download import transfer
from ovss.download.remote_file import RemoteFile
from ovss.weights import table
from ovss.weights.table import Weights

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def entry(name: str, file: RemoteFile, *, by_hand: str = "", hub: str = "", configs: tuple[str, ...] = ()) -> Weights:
    setting = "MODEL.WEIGHTS" if name.startswith("cat") else "MODEL.CLIP.WEIGHTS"
    return Weights(name, name, file, by_hand, "MIT", "its card", setting, "ViT-B/16", hub, configs)


def made_up(server: FileServer) -> dict[str, Weights]:
    """clip_small has a sum; clip_hub is the hub's; cat_small has neither sum nor size; hand_small comes by hand."""
    checksum = f"sha256:{SHA256}"
    url = "https://huggingface.co/org/clip/resolve/main/open_clip_pytorch_model.bin"
    rows = [
        entry(
            "clip_small", RemoteFile(server.url("clip.pt"), "clip.pt", len(CONTENT), checksum, "us"), hub="timm/clip"
        ),
        entry("clip_hub", RemoteFile(url, "hub.bin", None, checksum, "us"), hub="org/clip"),
        entry("cat_small", RemoteFile(server.url("cat.pth"), "cat.pth"), configs=("cat_seg/vitb_384",)),
        entry("hand_small", RemoteFile("", "hand.pth"), by_hand="open https://a.b in a browser"),
    ]
    return {row.name: row for row in rows}


def empty_caches(monkeypatch, folder: Path) -> None:
    """No weights are on this machine, and connections are allowed."""
    for name, value in {"no_proxy": "*", "HOME": str(folder), "OVSS_CACHE": str(folder / "cache")}.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))


@contextmanager
def small_weights(monkeypatch, folder: Path) -> Iterator[FileServer]:
    """The made-up table, its server, and empty caches below `folder`."""
    empty_caches(monkeypatch, folder)
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01))
    with serve() as server:
        server.files["clip.pt"] = server.files["cat.pth"] = Served(CONTENT)
        entries = made_up(server)
        monkeypatch.setattr(table, "entries", lambda: entries)
        yield server


def put_into_hub(folder: Path, repository: str, name: str, content: bytes) -> Path:
    """A file as the hub's client keeps it."""
    place = folder / "hub" / f"models--{repository.replace('/', '--')}"
    path = place / "snapshots" / "abc" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    return path
