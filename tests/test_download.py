"""`ovss datasets download` as a user runs it, with a server on this machine in place of the real ones."""

import hashlib
import json
import re
from collections import namedtuple

import numpy as np
import pytest
from official_archives import ADE, ARCHIVES, PREPARATION_READS
from official_server import official_server
from PIL import Image

from ovss.cli import main
from ovss.datasets import downloads
from ovss.datasets.downloads import SOURCES, Source
from ovss.datasets.preparations import PREPARATIONS
from ovss.download import transfer


@pytest.fixture
def server(monkeypatch):
    """A server of `ARCHIVES`, which the table of downloads names."""
    monkeypatch.setattr(transfer, "WAITS", (0.01,))
    monkeypatch.setenv("no_proxy", "*")
    with official_server() as (server, sources):
        for name, source in sources.items():
            monkeypatch.setitem(downloads.SOURCES, name, source)
        yield server


def files_below(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def run(*args) -> int:
    return main(["datasets", "download", *map(str, args)])


@pytest.mark.parametrize("name", PREPARATION_READS)
def test_files_lie_where_preparation_looks(server, tmp_path, capsys, name):
    assert run(name, "--root", tmp_path) == 0
    found = files_below(tmp_path)
    assert [file for file in found if not file.startswith("downloads/")] == PREPARATION_READS[name]
    assert all(file.endswith(".unpacked.json") for file in found if file.startswith("downloads/"))
    output = capsys.readouterr().out
    for page in SOURCES[name].terms:
        assert page in output.splitlines()[0]
    assert f"next: ovss datasets prepare {name}" in output
    unchecked = [file.name for file in SOURCES[name].files if not file.checksum]
    assert [line.split(":")[0] for line in output.splitlines() if "no published checksum is known" in line] == unchecked


def test_second_run_asks_for_nothing_and_sets_share_files(server, tmp_path, capsys):
    assert run("pascal_context_59", "--root", tmp_path, "--keep-archives") == 0
    assert (tmp_path / "downloads/trainval_merged.json").read_bytes() == b"{}"
    asked = len(server.requests)
    assert run("pascal_context_59", "--root", tmp_path) == 0
    assert len(server.requests) == asked
    assert run("pascal_context_459", "--root", tmp_path) == 0
    assert [name for name, _ in server.requests[asked:]] == ["trainval.tar.gz"]
    (tmp_path / "VOCdevkit/VOC2010/trainval/2008_000002.mat").unlink()  # no longer there: fetched again
    assert run("pascal_context_459", "--root", tmp_path) == 0
    assert server.requests[asked + 1 :] == [("trainval.tar.gz", "")]


def test_one_split_leaves_the_photos_of_the_other(server, tmp_path):
    assert run("coco_stuff", "--root", tmp_path, "--split", "val") == 0
    assert [name for name, _ in server.requests] == ["val2017.zip", "stuffthingmaps_trainval2017.zip"]


def test_file_that_fails_does_not_stop_the_others(server, tmp_path, capsys):
    server.files["val2017.zip"].content = b"0" * len(ARCHIVES["val2017.zip"])
    server.files["stuffthingmaps_trainval2017.zip"].code = 404
    assert run("coco_stuff", "--root", tmp_path) == 1
    captured = capsys.readouterr()
    assert re.search(r"ovss: coco_stuff: val2017\.zip has sha256 \w+, published \(by TensorFlow Datasets", captured.err)
    assert "the server answers 404 Not Found" in captured.err
    assert "2 of 3 files of coco_stuff could not be downloaded" in captured.err
    assert "next:" not in captured.out
    assert (tmp_path / "coco-stuff/images/train2017/000000000009.jpg").exists()
    server.files["val2017.zip"].content = ARCHIVES["val2017.zip"]
    server.files["stuffthingmaps_trainval2017.zip"].code = 200
    assert run("coco_stuff", "--root", tmp_path) == 0


def test_copy_from_elsewhere_is_checked_and_used(server, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/ADEChallengeData2016.zip").write_bytes(ARCHIVES["ADEChallengeData2016.zip"])
    assert run("ade20k_150", "--root", tmp_path) == 0
    assert server.requests == []
    assert (tmp_path / PREPARATION_READS["ade20k_150"][0]).exists()


def test_disk_that_holds_the_archive_alone_is_told_at_once(server, tmp_path, monkeypatch, capsys):
    size = len(ARCHIVES["val2017.zip"])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0, 0, 2 * size - 1))
    run("coco_stuff", "--root", tmp_path, "--split", "val")
    assert (
        f"val2017.zip and its contents need about {2 * size} bytes more, {2 * size - 1} are free"
        in capsys.readouterr().err
    )


def test_damage_without_a_published_checksum_is_met_by_the_archives_own(server, tmp_path, capsys):
    data = bytearray(ARCHIVES["SegmentationClassAug.zip"])
    data[data.index(b"content of")] ^= 1
    server.files["SegmentationClassAug.zip"].content = bytes(data)
    assert run("voc", "--root", tmp_path) == 1
    assert "is damaged (Bad CRC-32" in capsys.readouterr().err
    assert (tmp_path / "downloads/SegmentationClassAug.zip.wrong").exists()
    assert not (tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug/2007_000032.png").exists()
    server.files["SegmentationClassAug.zip"].content = ARCHIVES["SegmentationClassAug.zip"]
    assert run("voc", "--root", tmp_path) == 0


def test_what_must_be_asked_for_names_the_page_and_the_places(tmp_path, capsys):
    assert run("ade20k_full", "--root", tmp_path) == 2
    error = capsys.readouterr().err
    assert "https://groups.csail.mit.edu/vision/datasets/ADE20K/request_data/" in error
    assert f"{tmp_path}/ADE20K_2021_17_01/index_ade20k.pkl" in error


def test_unknown_name_is_bad_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        run("cityscapes")
    assert caught.value.code == 2
    assert "coco_stuff" in capsys.readouterr().err


def test_note_of_another_kind_is_not_believed(server, tmp_path):
    (tmp_path / "downloads").mkdir()
    for content in ("", "[]", "{}", json.dumps({"url": server.url("val2017.zip"), "counts": 3})):
        (tmp_path / "downloads/ADEChallengeData2016.zip.unpacked.json").write_text(content)
        assert run("ade20k_150", "--root", tmp_path) == 0
    assert len(server.requests) == 4


def test_table():
    """Every preparation has its source; figures are of the form that is checked, and none is without its publisher."""
    assert set(SOURCES) == {"coco_stuff", "ade20k_150", "ade20k_full", "voc", "pascal_context_59", "pascal_context_459"}
    assert set(PREPARATIONS) <= set(SOURCES)
    for source in SOURCES.values():
        assert isinstance(source, Source)
        assert bool(source.files) != bool(source.by_hand)
        assert all(page.startswith(("http://", "https://")) for page in source.terms)
        for file in source.files:
            assert file.url.startswith(("http://", "https://"))
            assert file.url.split("?")[0].endswith(f"/{file.name}")
            assert bool(file.published) == bool(file.checksum or file.size)
            assert file.split in ("", "train", "val")
            if file.checksum:
                algorithm, digits = file.checksum.split(":")
                assert re.fullmatch(f"[0-9a-f]{{{2 * hashlib.new(algorithm).digest_size}}}", digits)


def test_download_prepare_check(server, tmp_path, capsys):
    """The three commands one after the other leave what evaluation reads: 0 is unlabelled, 1 becomes class 0."""
    root = ("--root", str(tmp_path))
    assert run("ade20k_150", *root) == 0
    assert main(["datasets", "prepare", "ade20k_150", *root, "--workers", "1"]) == 0
    assert main(["datasets", "check", "ADE150", *root, "--output", str(tmp_path / "drawn")]) == 1
    assert "ade20k_150_val: 1 of 2,000 pictures" in capsys.readouterr().err
    with Image.open(tmp_path / f"{ADE}/annotations_detectron2/validation/ADE_val_00000001.png") as label:
        assert np.asarray(label).tolist() == [[255, 0, 149]]
    assert (tmp_path / "drawn/ade20k_150_val.png").exists()
