"""Our evaluator beside Detectron2's own, where that is installed: number for number, and the same predictions file."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ovss.d2 import api, catalog
from ovss.d2.sem_seg_evaluator import SemSegEvaluator
from ovss.vocabulary import Vocabulary

K = 12


@pytest.fixture
def run(tmp_path):
    """Both evaluators on the same answers: K classes, of which two are only predicted and one is nowhere."""
    if api.ENGINE == "lite":
        pytest.skip("Detectron2 is not the engine here")
    from detectron2.evaluation import SemSegEvaluator as Theirs

    rng = np.random.default_rng(0)
    records, answers = [], []
    for index in range(4):
        target = rng.integers(0, K - 3, (37, 29)).astype(np.uint8)
        found = np.where(rng.random((37, 29)) < 0.6, target, rng.integers(0, K - 1, (37, 29)))
        target[rng.random((37, 29)) < 0.1] = 255
        Image.fromarray(target).save(tmp_path / f"{index}.png")
        records.append({"file_name": f"{index}.jpg", "sem_seg_file_name": str(tmp_path / f"{index}.png")})
        answers.append({"sem_seg": torch.eye(K)[torch.from_numpy(found)].permute(2, 0, 1)})
    ids = {3 * index + 1: index for index in range(K)}
    words = Vocabulary.from_words([f"class {index}" for index in range(K)])
    catalog.register("both", lambda: records, words, 255, stuff_dataset_id_to_contiguous_id=ids)
    theirs = Theirs("both", distributed=False, output_dir=str(tmp_path / "theirs"))
    ours = SemSegEvaluator("both", output_dir=str(tmp_path / "ours"), save_predictions=True)
    found = []
    for evaluator in (theirs, ours):
        evaluator.reset()
        for record, scores in zip(records, answers, strict=True):
            evaluator.process([record], [scores])
        found.append(evaluator.evaluate()["sem_seg"])
    yield (*found, theirs, tmp_path)
    api.DatasetCatalog.remove("both")
    api.MetadataCatalog.remove("both")


def test_scores(run):
    theirs, ours, evaluator, folder = run
    assert ours["mIoU_gt"] == pytest.approx(theirs["mIoU"], rel=1e-12)
    assert ours["fwIoU"] == pytest.approx(theirs["fwIoU"], rel=1e-12)
    assert ours["mAcc_gt"] == pytest.approx(theirs["mACC"], rel=1e-12)
    assert ours["pAcc"] == pytest.approx(theirs["pACC"], rel=1e-12)
    counts = evaluator._conf_matrix[:-1, :-1].T  # theirs has the true classes in columns
    stored = json.loads((folder / "ours/both.json").read_text())
    assert stored["confusion"] == counts.tolist()
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    assert (counts.sum(1) > 0).sum() < (union > 0).sum() < K
    # v0.6 takes the mean over all classes of a union.
    iou = counts.diagonal()[union > 0] / union[union > 0]
    assert ours["mIoU_union"] == pytest.approx(100 * iou.mean(), rel=1e-12)
    for index in range(K):
        for name, values in (("IoU", stored["IoU"]), ("ACC", stored["accuracy"])):
            expected = theirs[f"{name}-class {index}"]
            if counts[index].sum():
                assert values[index] == pytest.approx(expected, rel=1e-12)
            else:  # theirs: undefined without ground truth; ours: IoU 0 where the class was predicted
                assert np.isnan(expected)


def test_predictions(run):
    *_, folder = run
    theirs = json.loads((folder / "theirs/sem_seg_predictions.json").read_text())
    assert json.loads((folder / "ours/both_predictions.json").read_text()) == theirs
    assert len(theirs) == 4 * (K - 1)
