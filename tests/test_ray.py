"""`ovss segment --ray` on a real Ray cluster of this machine: each picture once, tables, resumed runs, mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from ovss.scenes import draw_scene

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
WORDS = "red circle, blue square, brick wall, sand, grass"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of its own processes, and the environment that reaches it."""
    port = 20000 + os.getpid() % 20000
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "CUDA_VISIBLE_DEVICES": ""}
    start = ["start", "--head", f"--port={port}", "--num-cpus=3", "--include-dashboard=false", "--disable-usage-stats"]
    start += ["--block", "--node-ip-address=127.0.0.1", f"--temp-dir=/tmp/ray_{os.getpid()}"]
    head = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *start],
        env=environment,
        cwd=tmp_path_factory.mktemp("ray"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert head.stdout is not None
    assert any("--block" in line for line in head.stdout), "it says so when all of its processes run"
    yield f"127.0.0.1:{port}", environment
    head.send_signal(signal.SIGINT)  # ends its own processes; other clusters of this machine go on
    head.communicate()
    shutil.rmtree(f"/tmp/ray_{os.getpid()}", ignore_errors=True)


def segment(cluster, *inputs: Path, output: Path, words: str = WORDS, more=()) -> subprocess.CompletedProcess:
    address, environment = cluster
    given = ["--model", "quickstart/cat_seg", "--device", "cpu", "--vocabulary", words, "--output", str(output)]
    command = [sys.executable, "-m", "ovss", "segment", *given, "--input", *map(str, inputs), "--ray", address, *more]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def scenes(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(draw_scene(index).image).save(path)
    return paths


def test_a_folder_a_stop_and_a_resumed_run(cluster, tmp_path):
    """As without Ray, picture by picture; what is done is not done again; what is broken is told."""
    paths = scenes(tmp_path / "in", 12)
    (tmp_path / "in/broken.png").write_bytes(b"no picture")
    done = segment(cluster, tmp_path / "in", output=tmp_path / "out", more=["--json", "--outputs", "labels", "rle"])
    assert done.returncode == 1, done.stderr
    assert "broken.png: not a readable picture" in done.stderr
    *told, last = map(json.loads, done.stdout.splitlines())
    records = [one for one in told if "error" not in one]
    assert sorted(record["file"] for record in records) == sorted(map(str, paths)), "each picture once"
    assert [one["file"] for one in told if one not in records] == [str(tmp_path / "in/broken.png")]
    assert (last["segmented"], last["failed"]) == (12, 1)
    entries = json.loads((tmp_path / "out/coco_segments.json").read_text())
    assert {entry["image_id"] for entry in entries} == {path.stem for path in paths}
    alone = [sys.executable, "-m", "ovss", "segment", "--model", "quickstart/cat_seg", "--device", "cpu"]
    alone += ["--vocabulary", WORDS, "--input", *map(str, paths), "--output", str(tmp_path / "alone")]
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True)
    for path in paths:
        labels = [np.asarray(Image.open(tmp_path / f"{place}/{path.stem}_labels.png")) for place in ("out", "alone")]
        assert (labels[0] == labels[1]).mean() > 0.999  # another number of threads rounds otherwise
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*_labels.png")}
    (tmp_path / "out/3.json").unlink()
    again = segment(cluster, *paths, output=tmp_path / "out", more=["--resume", "--json", "--outputs", "labels", "rle"])
    assert again.returncode == 0, again.stderr
    last = json.loads(again.stdout.splitlines()[-1])
    assert (last["segmented"], last["done_before"]) == (1, 11)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.name for path in before if after[path] != before[path]] == ["3_labels.png"]


def test_a_table_of_pictures_and_a_table_of_paths(cluster, tmp_path):
    paths = scenes(tmp_path / "in", 3)
    files = [path.read_bytes() for path in paths]
    table = pyarrow.table({"name": ["a/0.png", "b/0.png", "b/0.png"], "bytes": files, "year": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "files.parquet")
    relative = [os.path.relpath(path, ROOT) for path in paths]  # to where the run starts
    pyarrow.parquet.write_table(pyarrow.table({"path": relative}), tmp_path / "paths.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"url": ["a"]}), tmp_path / "others.parquet")
    assert segment(cluster, tmp_path / "files.parquet", output=tmp_path / "out").returncode == 0
    made = sorted(path.stem for path in (tmp_path / "out").glob("*.json"))
    assert [stem.rsplit("_", 1)[0] for stem in made] == ["0"] * 3, "equal names do not overwrite each other"
    assert segment(cluster, tmp_path / "paths.parquet", output=tmp_path / "more").returncode == 0
    found: dict[str, list[bytes]] = {"out": [], "more": []}
    files_of: dict[str, list[str]] = {"out": [], "more": []}
    for folder in found:
        for path in (tmp_path / folder).glob("*.json"):
            files_of[folder].append(json.loads(path.read_text())["file"])
            found[folder].append(Image.open(path.with_name(f"{path.stem}_labels.png")).tobytes())
    assert sorted(files_of["out"]) == ["a/0.png", "b/0.png", "b/0.png"]
    assert sorted(files_of["more"]) == relative
    assert sorted(found["out"]) == sorted(found["more"])
    done = segment(cluster, tmp_path / "others.parquet", output=tmp_path / "out")
    assert done.returncode == 2
    assert """has the columns ['url']: expected "path", or "bytes" and "name\"""" in done.stderr
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    done = segment(cluster, tmp_path / "broken.parquet", output=tmp_path / "out")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"ovss: error: {tmp_path}/broken.parquet: ")


def test_mistakes_end_the_run_in_one_line(cluster, tmp_path):
    paths = scenes(tmp_path / "in", 2)
    done = segment(cluster, *paths, output=tmp_path / "out", words="zebra, sand")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ovss: error: the embedded tiny CLIP does not know ['zebra']")
    (tmp_path / "a.mp4").write_bytes(b"")
    done = segment(cluster, tmp_path / "a.mp4", output=tmp_path / "out")
    assert (done.returncode, "--ray takes pictures alone" in done.stderr) == (2, True)


def test_no_cluster_at_this_address(tmp_path):
    paths = scenes(tmp_path / "in", 1)
    done = segment(("127.0.0.1:9", dict(os.environ)), *paths, output=tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ovss: error: --ray 127.0.0.1:9: no cluster there")
