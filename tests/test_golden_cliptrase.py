"""Parity with the authors' code: expected tensors that it computed for these weights (golden_weights.py) and photos.

The committed excerpt needs nothing but scikit-image's photos; the full set beside the checkout covers more pictures.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image

from cliptrase.dbscan import dbscan
from cliptrase.model import CLIPtrase, Regions
from ovss import hub
from ovss.clip.embeddings import embed_rows
from ovss.d2.api import build_model
from ovss.d2.evaluator import evaluate
from ovss.d2.mapper import InputTransform
from ovss.inference import fit
from ovss.labels import answered_labels
from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
REGIONS = {224: Regions(eps=0.7, min_points=3), 336: Regions(eps=1.1, min_points=7)}
VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tv"),
]
BACKGROUND = ["background", "sky", "wall", "white", "tree"]


@pytest.fixture(scope="module")
def golden():
    return np.load(ROOT / "tests/golden/cliptrase.npz")


@pytest.fixture(scope="module")
def full(shared):
    return np.load(shared / "golden/cliptrase.npz")


def cropped(image, size):
    """The paper's input: bicubic to `size` on the short side, centre crop, in [0,1]."""
    transform = InputTransform(min_size=size, max_size=2560, interpolation="bicubic", center_crop=True)
    return torch.from_numpy(transform(image)).permute(2, 0, 1)[None].float() / 255


def encode(model, image, size):
    """Unit features (L,D) and recalibrated correlation (N,N)."""
    with torch.no_grad():
        features, correlation = model.encode(cropped(image, size))
    tokens = torch.cat([features.class_token[:, None], features.patches], dim=1)
    return F.normalize(tokens, dim=-1)[0].numpy(), correlation


def close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


@torch.no_grad()
@pytest.mark.parametrize(
    ("words", "prompts", "key"),
    [(VOC, "imagenet", "text/VOC20"), (BACKGROUND, "imagenet", "text/VOC21_bg5"), (VOC, "vild", "d2/text")],
)
def test_text(rule_clip, golden, words, prompts, key):
    found = embed_rows(rule_clip, [(word,) for word in words], prompt_set(prompts), average=True)
    close(found[:, 0].numpy(), golden[key], 1e-5)


@pytest.mark.parametrize("size", [224, 336])
def test_features_correlation_regions(rule_clip, golden, size):
    features, correlation = encode(CLIPtrase(clip=rule_clip), skimage.data.astronaut(), size)
    close(features[::16, ::4], golden[f"{size}/features"], 1e-5)
    close(correlation[0, ::8, ::3].numpy(), golden[f"{size}/correlation"], 1e-5)
    regions = dbscan(correlation, REGIONS[size].eps, REGIONS[size].min_points)
    assert regions[0].tolist() == golden[f"{size}/regions"].tolist()


def write_data(folder, background):
    """The astronaut with its made-up labels, as a user's own data set; returns the settings that name it."""
    image = skimage.data.astronaut()
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    labels = ((y * 6 // height) * 6 + x * 6 // width) % 20
    labels[(y + x) % 97 < 9] = 255
    for name, array in (("images", image), ("labels", labels.astype(np.uint8))):
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / "astronaut.png")
    content = {"classes": VOC, "background": BACKGROUND if background else []}
    (folder / "classes.json").write_text(json.dumps(content))
    paths = {"IMAGES": "images", "LABELS": "labels", "CLASSES": "classes.json"}
    named = [word for key, name in paths.items() for word in (f"DATASETS.FOLDER.{key}", str(folder / name))]
    return ["DATASETS.TEST", "('folder',)", *named]


@pytest.mark.parametrize("size", [224, 336])
@pytest.mark.parametrize("dataset", ["VOC20", "VOC21"])
def test_paper_protocol_end_to_end(golden, rule_weights, tmp_path, size, dataset):
    """Config, data set, crop, model, vote, background rule and metric: the four scores of the authors' script."""
    special = {
        "VOC20": ["MODEL.CLIPTRASE.CLASS_TOKEN_WEIGHTING", "True"],
        "VOC21": ["TEST.VOID_AS_BACKGROUND", "True"],
    }[dataset]
    opts = [*write_data(tmp_path, dataset == "VOC21"), *special, "MODEL.CLIP.WEIGHTS", str(rule_weights)]
    opts += ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out"), "DATALOADER.NUM_WORKERS", "0"]
    cfg = hub.load(str(ROOT / f"configs/cliptrase/vitb16_{size}.yaml"), opts)
    model = build_model(cfg).eval()
    answers = []
    model.register_forward_hook(lambda module, inputs, outputs: answers.append(answered_labels(outputs[0])[0]))
    scores = evaluate(cfg, model)["folder"]
    assert (answers[0].numpy() == golden[f"{size}/{dataset}/labels"]).mean() >= 0.999
    published = [scores[name] for name in ("pAcc", "mAcc_all", "fwIoU", "mIoU_gt")]
    assert np.abs(np.array(published) - golden[f"{size}/{dataset}/scores"]).max() <= 0.02


def test_detectron2_variant_end_to_end(golden, rule_weights):
    opts = ["MODEL.CLIP.WEIGHTS", str(rule_weights), "MODEL.CLIPTRASE.CLASS_TOKEN_WEIGHTING", "True"]
    predictor = hub.build_predictor(str(ROOT / "configs/cliptrase/vitb16_d2.yaml"), opts, Vocabulary.parse(VOC), "cpu")
    image = skimage.data.chelsea()
    resized = torch.from_numpy(np.ascontiguousarray(predictor.transform(image).transpose(2, 0, 1)))
    request = {"image": resized, "height": image.shape[0], "width": image.shape[1], "vocabulary": predictor.vocabulary}
    scores = predictor.segmentor([request])[0]["sem_seg"]
    close(scores.flatten(1)[:, golden["d2/pix_idx"]].numpy(), golden["d2/pix_val"], 1e-4 * float(scores.abs().max()))
    assert (scores.argmax(0).numpy() == golden["d2/labels"]).mean() >= 0.999
    with torch.no_grad():
        features, correlation = predictor.segmentor.model.encode(predictor.segmentor.prepare(resized)[None])
    tokens = torch.cat([features.class_token[:, None], features.patches], dim=1)[0].numpy()
    close(tokens[::8][::3, ::4], golden["d2/features"], 1e-4)
    assert dbscan(correlation, 1.1, 7)[0].tolist() == golden["d2/regions"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 336])
@pytest.mark.parametrize("picture", ["astronaut", "chelsea"])
def test_full_paper_version(full, shared, rule_clip, picture, size):
    image = np.asarray(Image.open(shared / f"samples/photos/{picture}.png").convert("RGB"))
    key = f"paper/{size}/{picture}"
    model = CLIPtrase(clip=rule_clip, regions=REGIONS[size])
    features, correlation = encode(model, image, size)
    close(features, full[f"{key}/visual_features"], 1e-5)
    close(correlation[0].numpy(), full[f"{key}/attn_recal"], 1e-5)
    background = torch.tensor([*range(20), *[20] * 5])
    for dataset, classes in (("VOC20", None), ("ADE150", None), ("VOC21", background)):
        model.class_token_weighting = dataset == "VOC20"
        rows = [full[f"text/{dataset}"]] + ([full["text/VOC21_bg5"]] if dataset == "VOC21" else [])
        text = torch.from_numpy(np.concatenate(rows))[:, None]
        labels = model(cropped(image, size), text, classes).argmax(1)[0].numpy()
        assert (labels == full[f"{key}/{dataset}/pred"]).mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["voc_sem_seg_val", "ade20k_150_sem_seg_val"])
@pytest.mark.parametrize("picture", ["astronaut", "chelsea"])
def test_full_detectron2_version(full, shared, rule_clip, picture, dataset):
    image = np.asarray(Image.open(shared / f"samples/photos/{picture}.png").convert("RGB"))
    key = f"d2/{picture}/{dataset}"
    model = CLIPtrase(
        clip=rule_clip, fusion="mean", regions=REGIONS[336], unit_features=False, input_scale=0.5,
        class_token_weighting="voc" in dataset,
    )  # fmt: skip
    resized = torch.from_numpy(InputTransform(min_size=640, max_size=2560)(image).copy()).permute(2, 0, 1) / 255
    padded = fit(resized, model.size_divisibility, "pad", model.pixel_mean)[None]
    scores = model(padded, torch.from_numpy(full[f"d2/text/{dataset}"])[:, None], size=image.shape[:2])[0]
    close(
        scores.flatten(1)[:, full[f"{key}/pix_idx"]].numpy(), full[f"{key}/pix_val"], 1e-4 * float(scores.abs().max())
    )
    assert (scores.argmax(0).numpy() == full[f"{key}/argmax"]).mean() >= 0.999
