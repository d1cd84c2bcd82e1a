"""Background as each protocol has it, on the registered sets, against the published codes' rules written out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import CONFIG, SMALL, as_opts

import cat_seg.d2
from ovss import hub
from ovss.d2.api import MetadataCatalog, build_model
from ovss.d2.evaluator import evaluate
from ovss.d2.sem_seg_evaluator import SemSegEvaluator
from ovss.datasets.table import BENCHMARKS
from ovss.vocabulary import Vocabulary

CONFIGS = Path(__file__).parent.parent / "configs"
ROWS = {name: row for row in BENCHMARKS for name in row.all_names}
VOC_20B, VOC_21 = "voc_2012_test_background_sem_seg", "VOC21"
SETTINGS = {
    **{key: value for key, value in SMALL.items() if not key.startswith(("DATASETS", "MODEL.CLIP"))},
    "MODEL.CAT_SEG.CLASS_TOKENS": 64,
    "TEST.SLIDING_WINDOW": True,
    "TEST.WINDOW_CANVAS": [96, 96],
    "TEST.WINDOW_SIZE": 64,
    "TEST.WINDOW_OVERLAP": 0.5,
    "INPUT.MIN_SIZE_TEST": 80,
}


def write(root, name, labels):
    """Two noisy pictures with these label images, as the registered set has them on disk."""
    images, masks = (root / folder for folder in ROWS[name].layouts[0])
    rng = np.random.default_rng(0)
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for index, values in enumerate(labels):
        Image.fromarray(rng.integers(0, 256, (*values.shape, 3), np.uint8)).save(images / f"{index}.jpg")
        Image.fromarray(values.astype(np.uint8)).save(masks / f"{index}.png")


def test_voc_20b_is_the_authors_merge(tmp_path, monkeypatch, small_clip):
    """CAT-Seg asks for 59 words, calls every answer from the 20th on 20, and does not score 255."""
    rng = np.random.default_rng(1)
    labels = [rng.choice([*range(21), 255], (40, 56)) for _ in range(2)]
    write(tmp_path / "data", VOC_20B, labels)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    monkeypatch.setattr(cat_seg.d2, "load_clip", lambda name, weights: small_clip)
    opts = as_opts(SETTINGS, {"DATASETS.TEST": (VOC_20B,), "OUTPUT_DIR": tmp_path / "out"})
    cfg = hub.load(CONFIG, opts)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    measured = evaluate(cfg, model)[VOC_20B]

    words = MetadataCatalog.get(VOC_20B).vocabulary
    asked = Vocabulary(words.synonyms + tuple((word,) for word in words.background))
    assert (len(words.classes), len(asked.classes)) == (21, 59)
    counts = np.zeros((21, 21))
    for index, true in enumerate(labels):
        image = Image.open(tmp_path / "data" / ROWS[VOC_20B].layouts[0][0] / f"{index}.jpg").resize(
            (112, 80), Image.Resampling.BILINEAR
        )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        request = {"image": pixels, "height": 40, "width": 56, "vocabulary": asked}
        answer = model([request])[0]["sem_seg"].argmax(0).numpy()
        answer[answer >= 20] = 20
        np.add.at(counts, (true[true != 255], answer[true != 255]), 1)
    assert counts[:, 20].any(), "some background is found"
    assert counts[:, :20].any(), "and something else"
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    assert measured["mIoU_gt"] == pytest.approx(100 * (counts.diagonal() / union).mean())
    assert measured["pAcc"] == pytest.approx(100 * counts.diagonal().sum() / counts.sum())


@pytest.mark.parametrize(
    ("name", "values", "counted"),
    [
        # Value in the prepared file -> class that is scored; absent: not scored.
        ("VOC21", (3, 20, 255), {3: 3, 20: 20, 255: 20}),
        ("PC60", (3, 58, 255), {3: 3, 58: 58, 255: 59}),
        ("COCO80_val", (3, 80, 81, 170, 255), {3: 3, 80: 80, 255: 80}),
        ("VOC20", (3, 255), {3: 3}),
        ("voc_21_val", (3, 20, 255), {3: 3, 20: 20, 255: 20}),
    ],
)
def test_void_under_the_papers_protocol(name, values, counted, tmp_path):
    """One row of pixels for each value: what the evaluator counts as their true class."""
    cfg = hub.load(str(CONFIGS / "cliptrase/vitb16_224.yaml"))
    write(tmp_path, name, [np.repeat(np.array(values)[:, None], 5, axis=1)])
    evaluator = SemSegEvaluator(
        name,
        void_as_background=cfg.TEST.VOID_AS_BACKGROUND,
        skip_background_alone=cfg.TEST.SKIP_BACKGROUND_ALONE,
    )
    file = tmp_path / ROWS[name].layouts[0][1] / "0.png"
    answer = torch.zeros(len(evaluator.classes), len(values), 5)
    evaluator.process([{"file_name": "0.jpg", "sem_seg_file_name": str(file)}], [{"sem_seg": answer}])
    expected = torch.zeros(len(evaluator.classes), dtype=torch.int64)
    for true in counted.values():
        expected[true] += 5
    assert torch.equal(evaluator.confusion.counts.sum(1), expected)


@pytest.mark.parametrize(
    ("values", "scored"), [((20, 255), 0), ((20, 255, 3), 15), ((255,), 0)], ids=["background", "mixed", "void"]
)
def test_crops_of_background_alone_are_left_out(values, scored, tmp_path):
    """The paper's script passes over pictures whose only label is 255, which is VOC's background there."""
    write(tmp_path, VOC_21, [np.repeat(np.array(values)[:, None], 5, axis=1)])
    evaluator = SemSegEvaluator(VOC_21, void_as_background=True, skip_background_alone=True)
    file = tmp_path / ROWS[VOC_21].layouts[0][1] / "0.png"
    answer = torch.zeros(21, len(values), 5)
    evaluator.process([{"file_name": "0.jpg", "sem_seg_file_name": str(file)}], [{"sem_seg": answer}])
    assert int(evaluator.confusion.counts.sum()) == scored
