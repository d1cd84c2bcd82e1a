"""What the web page does when its parts are used, without a browser, with the embedded models."""

import io
import json
import types
import zipfile

import numpy as np
import pytest
from page_pictures import HOSTILE, decoded, png
from page_process import app_arguments
from PIL import Image

from ovss.page.desk import GONE, NO_PICTURE, NO_RUN, UNEXPECTED, Desk, explain, forget
from ovss.page.examples import PHOTO_WORDS, SCENES, examples
from ovss.page.intake import Picture, parse_words
from ovss.page.markup import examples_html
from ovss.page.systems import MAP_SIDE, Run, ScoreMaps, load_systems, patch_maps
from ovss.page.tidy import FULL
from ovss.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def systems():
    return load_systems(app_arguments())


@pytest.fixture
def desk(systems, tmp_path):
    return Desk(systems, examples(photos=False), tmp_path)


@pytest.fixture
def sent(tmp_path):
    """A function that puts a file where Gradio puts what was sent."""

    def put(name: str, content: bytes):
        path = tmp_path / "a1b2" / name
        path.parent.mkdir()
        path.write_bytes(content)
        return path

    return put


def event(**data):
    return types.SimpleNamespace(_data=data)


def test_examples_are_there_and_their_words_are_known(systems):
    scenes = examples(photos=False)
    assert len(scenes) == len(SCENES)
    for sample in scenes:
        words = parse_words(sample.words)
        assert len(words.names) >= 6
        for system in systems:
            assert system.predictor.segment(sample.picture.pixels, words).labels.shape == (128, 128)
    assert [sample.picture.name for sample in examples(photos=True)][: len(PHOTO_WORDS)] == list(PHOTO_WORDS)
    assert examples_html(scenes).count("<button") == len(scenes)


def test_a_run_on_the_desk_is_what_the_models_say(desk, systems):
    sample = desk.samples[0]
    run, shown, download, message = desk.segment(sample.picture, sample.picture.number, sample.words, None)
    json.dumps(shown)
    assert message == ""
    for system, part in zip(systems, shown["systems"], strict=True):
        expected = system.predictor.segment(sample.picture.pixels, sample.words)
        assert (decoded(part["data"]["url"])[..., 0] == expected.labels).all()
        assert part["areas"] == list(expected.areas().values())
        with zipfile.ZipFile(download.value["path"]) as archive:
            stem = f"{system.key}/{sample.picture.name[:-4]}"
            kept = archive.read(f"{stem}_labels.png")
            record = json.loads(archive.read(f"{stem}.json"))
            assert Image.open(io.BytesIO(archive.read(f"{stem}_overlay.jpg"))).format == "JPEG"
        assert (np.asarray(Image.open(io.BytesIO(kept))) == expected.labels).all()
        assert record["file"] == sample.picture.name, "no path of the server"
        assert record["classes"] == list(expected.classes)
    again, *_ = desk.segment(sample.picture, sample.picture.number, sample.words, run)
    assert not run.archive.exists(), "the last result goes when the next is there"
    assert again.archive.exists()
    forget(again)
    assert not list(desk.folder.iterdir())


def test_scores_of_a_class(desk, systems):
    sample = desk.samples[0]
    run, *_ = desk.segment(sample.picture, sample.picture.number, sample.words, None)
    shown = desk.scores(run, event(index=1))
    assert (shown["kind"], shown["run"], shown["index"]) == ("scores", run.number, 1)
    for system in systems:
        expected = system.predictor.logits(sample.picture.pixels, sample.words).numpy()
        part = shown["maps"][system.key]
        assert part["low"] == pytest.approx(expected.min(), abs=1e-3)
        assert part["high"] == pytest.approx(expected.max(), abs=1e-3)
        pixels = decoded(part["data"]["url"]).astype(np.int64)
        span = part["data"]["high"] - part["data"]["low"]
        read = part["data"]["low"] + (pixels[..., 1] * 256 + pixels[..., 2]) / 65535 * span
        assert np.abs(read - expected[1]).max() < 2e-3
    assert desk.score_maps(run) is desk.score_maps(run), "computed once"
    assert desk.scores(run, event(index=1))["sent"] > shown["sent"]


def test_score_maps_are_bounded_and_have_the_pictures_shape(systems):
    picture = Picture(np.zeros((300, 900, 3), np.uint8), "a.png")
    run = Run(picture, Vocabulary.parse("grass, sand"), {}, (1, 1))
    for scores in ScoreMaps(systems)(run).values():
        assert scores.shape == (2, MAP_SIDE // 3, MAP_SIDE)


def test_score_maps_of_all_users_are_bounded(systems):
    """Each run has 2 systems x 2 words x 10 x 20 pixels x 2 bytes = 1600 bytes: two fit, and others are made again."""
    picture = Picture(np.zeros((10, 20, 3), np.uint8), "a.png")
    runs = [Run(picture, Vocabulary.parse("grass, sand"), {}, (1, 1)) for _ in range(3)]
    maps = ScoreMaps(systems, limit=3600)
    first, second = maps(runs[0]), maps(runs[1])
    assert maps(runs[0]) is first, "now the last that was asked for"
    maps(runs[2])
    assert maps.size == 3200
    assert maps(runs[0]) is first
    again = maps(runs[1])
    assert again is not second
    assert all((again[key] == second[key]).all() for key in again)
    small = ScoreMaps(systems, limit=1)
    assert small(runs[0]) is small(runs[0]), "the last are always kept"


def test_a_full_folder_takes_no_more_results(desk, monkeypatch):
    sample = desk.samples[0]
    monkeypatch.setattr("ovss.page.desk.MAX_STORED", -1)
    *_, message = desk.segment(sample.picture, sample.picture.number, sample.words, None)
    assert FULL in message


def test_a_patch(desk, systems):
    sample = desk.samples[0]
    run, shown, *_ = desk.segment(sample.picture, sample.picture.number, sample.words, None)
    rows, columns = shown["grid"]
    answer = desk.patch(run, event(x=0.99, y=0.01))
    maps = patch_maps(systems, run, (0.99, 0.01))
    assert maps.before.shape == (1, rows, columns)
    assert answer["overlaps"] == [maps.overlap_before, maps.overlap_after]
    assert {decoded(url).shape for url in answer["pictures"].values()} == {(512, 512, 3)}
    corner = patch_maps(systems, run, (1.0, 1.0))
    assert (corner.before == patch_maps(systems, run, (0.999, 0.999)).before).all()


@pytest.mark.parametrize("index", [-1, 99, "1", None, 1.5])
def test_made_up_events_are_answered(desk, index):
    sample = desk.samples[0]
    run, *_ = desk.segment(sample.picture, sample.picture.number, sample.words, None)
    assert desk.scores(run, event(index=index))["kind"] == "error"
    assert desk.patch(run, event(x=index, y=0.5))["kind"] == ("error" if index != 1 else "patch")
    assert desk.patch(run, types.SimpleNamespace(_data=None))["kind"] == "error"
    assert desk.patch(None, event(x=0.5, y=0.5))["text"] == NO_RUN


def test_an_upload_is_read(desk, sent):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file, picture, number, preview, message = desk.upload(str(sent("my photo.png", png(pixels))))
    assert file is None, "the next can be dropped"
    assert (picture.pixels == pixels).all()
    assert number == picture.number
    assert "my photo.png, 40 x 30" in preview
    assert message == ""


def test_a_broken_upload_is_told(desk, sent, tmp_path):
    *_, message = desk.upload(str(sent("note.png", b"no picture")))
    assert "note.png: not a readable picture" in message
    assert str(tmp_path) not in message


def test_files_elsewhere_are_not_read(desk, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "a.png"
    outside.write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    for path in (outside, desk.folder / ".." / outside.parent.name / "a.png", desk.folder / "absent.png"):
        assert GONE in desk.upload(str(path))[-1]


def test_what_is_said_of_mistakes(desk, monkeypatch, caplog):
    sample = desk.samples[0]
    for picture, words, message in (
        (None, sample.words, NO_PICTURE),
        (desk.samples[1].picture, sample.words, NO_PICTURE),
        (sample.picture, None, "no words"),
        (sample.picture, "zebra", "does not know"),
        (sample.picture, HOSTILE, "&lt;"),
    ):
        *_, told = desk.segment(picture, sample.picture.number, words, None)
        assert message in told
        assert "<img" not in told
    assert not list(desk.folder.iterdir()), "nothing is left of a run that failed"
    assert not caplog.records, "users' mistakes are no matter for the log"
    assert explain(RuntimeError("CUDA out of memory")).startswith("there is not enough memory")
    assert explain(KeyError("secret")) == UNEXPECTED
    assert "secret" in caplog.text
