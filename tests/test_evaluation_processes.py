"""An evaluation leaves the same files, byte for byte, in any number of processes, more than pictures included."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from processes import in_processes
from small_training import CONFIG as CAT_SEG
from small_training import SMALL, as_opts

from ovss import hub
from ovss.d2 import catalog
from ovss.d2.api import DatasetCatalog, MetadataCatalog, build_model, comm, default_argument_parser
from ovss.d2.evaluator import NotWrittenError, evaluate
from ovss.d2.run import run_evaluation
from ovss.vocabulary import Vocabulary

CLIPTRASE = "configs/quickstart/cliptrase.yaml"
COMMON = {
    "MODEL.DEVICE": "cpu",
    "DATASETS.TEST": ("made",),
    "DATALOADER.NUM_WORKERS": 0,
    "TEST.SAVE_LABELS": True,
    "TEST.SAVE_PREDICTIONS": True,
}
CASES = {
    "CLIPtrase": (CLIPTRASE, {}),
    "loading processes": (CLIPTRASE, {"DATALOADER.NUM_WORKERS": 2}),
    "flip and scales": (CLIPTRASE, {"TEST.AUG.ENABLED": True, "TEST.AUG.MIN_SIZES": (96, 128), "TEST.AUG.FLIP": True}),
    "sliding window": (
        CAT_SEG,
        {
            **SMALL,
            **COMMON,
            "DATASETS.TRAIN": (),
            "TEST.SLIDING_WINDOW": True,
            "TEST.WINDOW_CANVAS": (106, 106),
            "TEST.WINDOW_SIZE": 64,
        },
    ),
}
SIZES = ((60, 80), (80, 60), (96, 64), (50, 50), (40, 120))


@pytest.fixture(autouse=True)
def made(tmp_path):
    """Five pictures of five sizes, of which two come twice, as a registered data set."""
    rng = np.random.default_rng(0)
    records = []
    for index, size in enumerate(SIZES):
        record = {
            "file_name": str(tmp_path / f"{index}.png"),
            "sem_seg_file_name": str(tmp_path / f"{index}_labels.png"),
        }
        pixels, labels = rng.integers(0, 256, (4, 4, 3)), rng.integers(0, 4, (3, 3))
        Image.fromarray(pixels.astype(np.uint8)).resize(size[::-1]).save(record["file_name"])
        nearest = Image.fromarray(np.where(labels == 3, 255, labels).astype(np.uint8)).resize(size[::-1], 0)
        nearest.save(record["sem_seg_file_name"])
        records.append(record)
    words = Vocabulary.from_words(["sand", "red square", "blue square"])
    catalog.register("made", lambda: [*records, *records[1:3]], words, 255)
    yield
    DatasetCatalog.remove("made")
    MetadataCatalog.remove("made")


def build(case, folder):
    config, settings = CASES[case]
    cfg = hub.load(config, as_opts(COMMON, settings, {"OUTPUT_DIR": folder}))
    cfg.defrost()
    return cfg, build_model(cfg).eval()


def files(folder):
    """Contents by name below the folder of results, without the page's minute."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    undated = {name: re.sub(rb"evaluated [\d: -]{16} UTC", b"", text) for name, text in found.items()}
    return {name.removeprefix("inference_TTA/").removeprefix("inference/"): text for name, text in undated.items()}


@pytest.mark.parametrize(("case", "counts"), [
    ("CLIPtrase", (2, 3, 9)), ("loading processes", (2,)), ("flip and scales", (3,)), ("sliding window", (2,)),
])  # fmt: skip
def test_files_do_not_depend_on_the_number_of_processes(case, counts, tmp_path):
    cfg, model = build(case, tmp_path / "1")
    alone = evaluate(cfg, model)
    expected = files(tmp_path / "1")
    endings = {".json", ".md", ".csv", "_pictures.csv", "_predictions.json", ".html"}
    assert set(expected) == {f"made{end}" for end in endings} | {f"made_labels/{index}.png" for index in range(5)}
    order = [entry["file_name"] for entry in json.loads(expected["made_predictions.json"])]
    assert list(dict.fromkeys(order)) == [record["file_name"] for record in DatasetCatalog.get("made")[:5]]
    for count in counts:
        cfg.OUTPUT_DIR = str(tmp_path / str(count))

        def work(cfg=cfg):
            assert evaluate(cfg, model) == (alone if comm.is_main_process() else {name: {} for name in alone})

        in_processes(count, work)
        assert files(tmp_path / str(count)) == expected, count


@pytest.mark.usefixtures("restored_loggers")
def test_a_file_that_cannot_be_written_ends_no_process_and_no_set(tmp_path):
    cfg, model = build("CLIPtrase", tmp_path / "out")
    cfg.DATASETS.TEST = ("made", "few")
    catalog.register("few", lambda: DatasetCatalog.get("made")[:2], MetadataCatalog.get("made").vocabulary, 255)
    (tmp_path / "out/inference/made.json").mkdir(parents=True)

    def work():
        with pytest.raises(NotWrittenError, match=r"not written: .*/made\.json \(") as caught:
            evaluate(cfg, model)
        assert list(caught.value.results) == ["made", "few"]
        assert bool(caught.value.results["made"]) == comm.is_main_process()

    in_processes(2, work)
    assert (tmp_path / "out/inference/few.json").is_file()
    with pytest.raises(SystemExit) as ended:
        run_evaluation(cfg, default_argument_parser().parse_args([]))
    assert ended.value.code == 1
    DatasetCatalog.remove("few")
    MetadataCatalog.remove("few")


def test_what_an_ended_run_has_counted_goes_when_a_later_one_ends_well(tmp_path):
    cfg, model = build("CLIPtrase", tmp_path / "out")
    last = DatasetCatalog.get("made")[4]["sem_seg_file_name"]
    whole = Image.open(last).copy()
    Image.fromarray(np.full((2, 2), 9, np.uint8)).save(last)

    def work():
        with pytest.raises(ValueError, match=r"4_labels\.png is 2 x 2 px"):
            evaluate(cfg, model)

    work()
    kept = json.loads((tmp_path / "out/inference/unfinished/made/process_0/made.json").read_text())
    assert kept["pictures"] == 4
    whole.save(last)
    in_processes(2, lambda: evaluate(cfg, model))
    assert not (tmp_path / "out/inference/unfinished").exists()


def test_pictures_whose_label_pictures_would_be_one_file(tmp_path):
    cfg, model = build("CLIPtrase", tmp_path / "out")
    first, second = DatasetCatalog.get("made")[:2]
    catalog.register(
        "clash", lambda: [first, {**second, "file_name": "elsewhere/0.jpg"}], Vocabulary.from_words(["a"]), 255
    )
    cfg.DATASETS.TEST = ("clash",)
    with pytest.raises(ValueError, match=r"0\.png and elsewhere/0\.jpg would both be 0\.png"):
        evaluate(cfg, model)
    DatasetCatalog.remove("clash")
    MetadataCatalog.remove("clash")
