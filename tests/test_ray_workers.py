"""What a worker of a Ray cluster does with rows of tables, and how many there are; without a cluster."""

import argparse
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image

from ovss.bulk import ray_cluster
from ovss.bulk.ray_cluster import Labeller, job_of, share
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("red, green, blue")


def png(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(out, "PNG")
    return out.getvalue()


def column(*values: object) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made


@pytest.fixture
def sizes(monkeypatch) -> list[int]:
    """Batches of the model, which labels by colour."""
    seen: list[int] = []

    def by_colour(batch):
        seen.append(len(batch))
        return [{"sem_seg": request["image"].float()} for request in batch]

    monkeypatch.setattr(ray_cluster, "predictor_of", lambda *_: Predictor(by_colour, lambda image: image, WORDS))
    monkeypatch.chdir(Path.cwd())  # which a worker changes
    return seen


def worker(folder: Path, **changed) -> Labeller:
    given = {"outputs": ["labels"], "resume": True, "batch_size": 1, **changed}
    return Labeller(argparse.Namespace(**given), WORDS, str(folder / "out"), str(folder))


def outcomes(answer: dict[str, list[str]]) -> list[dict | None]:
    assert set(answer["fatal"]) <= {""}
    return [json.loads(told) for told in answer["outcome"]]


def test_rows_of_one_name_are_all_kept_and_known_again(tmp_path, sizes):
    batch = {
        "name": column("a.png", "a.png", "é" * 300, None),
        "bytes": column(*map(png, ("red", "blue", "red", "lime"))),
    }
    found = outcomes(worker(tmp_path)(batch))
    assert [told["path"] for told in found] == ["a.png", "a.png", "é" * 300, "None"]
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("a_*.json"))]
    assert sorted(record["areas"]["red"] for record in records) == [0, 1]
    assert len(list((tmp_path / "out").glob("*_labels.png"))) == 4
    assert outcomes(worker(tmp_path)(batch)) == [None] * 4
    assert len(sizes) == 4


def test_a_row_that_is_no_picture_costs_itself(tmp_path, sizes):
    batch = {"name": column("a", 7, "c\0.png"), "bytes": column(None, "text", png("red"))}
    found = outcomes(worker(tmp_path)(batch))
    assert [told["path"] for told in found] == ["a", "7", "c\0.png"]
    assert [told["error"][:22] for told in found] == ["not a readable picture"] * 2 + [""]
    found = outcomes(worker(tmp_path)({"path": column(None, 7, "absent.mp4")}))
    assert [told["error"] for told in found] == ["no such file", "no such file", "no such file"]


def test_relative_paths_start_where_the_run_does_and_batches_have_their_size(tmp_path, sizes, monkeypatch):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(png("red"))
    rows = {"path": column(*(os.fsencode(f"{index}.png") for index in range(5))), "stem": column(*"01234")}
    made = worker(tmp_path, batch_size=2)
    assert [told["record"]["file"] for told in outcomes(made(rows))] == [f"{index}.png" for index in range(5)]
    assert sizes == [2, 2, 1]
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.json")) == list("01234")


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, sizes):
    (tmp_path / "out").write_text("a file")
    answer = worker(tmp_path, resume=False)({"name": column("a", "b"), "bytes": column(png("red"), png("red"))})
    assert answer["outcome"] == [""]
    assert "File exists" in answer["fatal"][0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_a_cluster_that_fails_is_one_line(monkeypatch):
    """And "local" is one of its own, whichever there is."""
    begun = []
    monkeypatch.setattr(ray, "init", lambda *given, **options: begun.append((given, options["include_dashboard"])))
    monkeypatch.setattr(ray, "shutdown", lambda: begun.append("ended"))
    error = ray.exceptions.RayTaskError("f", "Traceback\n  line 1\nKeyError: 'a'", KeyError("a"))
    with pytest.raises(OSError, match=r"^--ray local: KeyError: 'a'$"), ray_cluster._cluster("local"):
        raise error
    assert begun == [(("local",), False), "ended"]


def test_files_of_the_model_go_to_other_machines_by_their_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/w.pt").write_bytes(b"")
    given = {"config_file": None, "model": "cat_seg/vitb_384", "weights": "link/w.pt", "json": True}
    made = vars(ray_cluster.resolved(argparse.Namespace(**given)))
    assert made == {**given, "weights": str(tmp_path / "real/w.pt")}


def test_names_depend_on_the_row_alone():
    digest = hashlib.blake2b(b"in/a.png\0", digest_size=6).hexdigest()
    assert job_of({"path": "in/a.png"}).stem == f"a_{digest}"
    assert job_of({"path": "in/a.png", "stem": "a_2"}).stem == "a_2"
    assert job_of({"name": "a", "bytes": b"1"}).stem != job_of({"name": "a", "bytes": b"2"}).stem


@pytest.mark.parametrize(
    ("machines", "expected"),
    [([1], (1, 1)), ([2], (1, 1)), ([3], (2, 1)), ([16], (2, 7)), ([1] * 8, (1, 7)), ([8, 1, 0], (2, 4))],
)
def test_workers_fit_the_machines(machines, expected):
    assert share(machines) == expected
