"""`ovss segment --ray` on a real Ray cluster of this machine: each picture once, tables, resumed runs, mistakes."""

import json
import os
import shutil
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
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    folder = tmp_path_factory.mktemp("ray")
    subprocess.run(
        [*ray, *start, "--node-ip-address=127.0.0.1", f"--temp-dir=/tmp/ray_{os.getpid()}"],
        env=environment,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    yield f"127.0.0.1:{port}", environment
    subprocess.run([*ray, "stop", "--force"], env=environment, capture_output=True, check=False)
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
    *records, last = map(json.loads, done.stdout.splitlines())
    assert sorted(record["file"] for record in records) == sorted(map(str, paths)), "each picture once"
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
    table = pyarrow.table({"name": ["a/0.png", "b/0.png", "c.png"], "bytes": files, "year": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "files.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"path": list(map(str, paths))}), tmp_path / "paths.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"url": ["a"]}), tmp_path / "others.parquet")
    assert segment(cluster, tmp_path / "files.parquet", output=tmp_path / "out").returncode == 0
    made = sorted(path.stem for path in (tmp_path / "out").glob("*.json"))
    assert [stem.rsplit("_", 1)[0] for stem in made] == ["0", "0", "c"], "equal names do not overwrite each other"
    assert segment(cluster, tmp_path / "paths.parquet", output=tmp_path / "more").returncode == 0
    found = {}
    for folder in ("out", "more"):
        for path in (tmp_path / folder).glob("*.json"):
            file = json.loads(path.read_text())["file"]
            found[folder, file] = np.asarray(Image.open(path.with_name(f"{path.stem}_labels.png")))
    np.testing.assert_array_equal(found["out", "b/0.png"], found["more", str(paths[1])])
    done = segment(cluster, tmp_path / "others.parquet", output=tmp_path / "out")
    assert done.returncode == 2
    assert """has the columns ['url']: expected "path", or "bytes" and "name\"""" in done.stderr


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
