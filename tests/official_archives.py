"""Small archives with the names and folders of the real ones."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image


def zipped(*names: str, **files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name, content in {**{name: f"content of {name}" for name in names}, **files}.items():
            packed.writestr(name, content)
    return data.getvalue()


def encoded(image: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    image.save(data, format=kind)
    return data.getvalue()


def tarred(*names: str, mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as packed:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            packed.addfile(info, io.BytesIO(name.encode()))
    return data.getvalue()


ADE = "ADEChallengeData2016"
ADE_PAIR = {
    f"{ADE}/annotations/validation/ADE_val_00000001.png": encoded(
        Image.fromarray(np.array([[0, 1, 150]], np.uint8)), "PNG"
    ),
    f"{ADE}/images/validation/ADE_val_00000001.jpg": encoded(Image.new("RGB", (3, 1), "teal"), "JPEG"),
}
# What the real archives hold, by their names in the table.
ARCHIVES = {
    "val2017.zip": zipped("val2017/000000000139.jpg"),
    "train2017.zip": zipped("train2017/000000000009.jpg", "train2017/000000000025.jpg"),
    "stuffthingmaps_trainval2017.zip": zipped("val2017/000000000139.png", "train2017/000000000009.png"),
    "ADEChallengeData2016.zip": zipped(**ADE_PAIR),
    "VOCtrainval_11-May-2012.tar": tarred("VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg"),
    "SegmentationClassAug.zip": zipped("SegmentationClassAug/2007_000032.png", "__MACOSX/._SegmentationClassAug"),
    "VOCtrainval_03-May-2010.tar": tarred("VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg"),
    "trainval_merged.json": b"{}",
    "trainval.tar.gz": tarred("./labels.txt", "./trainval/2008_000002.mat", mode="w:gz"),
}
# Where their files must come to lie.
PREPARATION_READS = {
    "coco_stuff": [
        "coco-stuff/annotations/train2017/000000000009.png",
        "coco-stuff/annotations/val2017/000000000139.png",
        "coco-stuff/images/train2017/000000000009.jpg",
        "coco-stuff/images/train2017/000000000025.jpg",
        "coco-stuff/images/val2017/000000000139.jpg",
    ],
    "ade20k_150": list(ADE_PAIR),
    "voc": [
        "VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg",
        "VOCdevkit/VOC2012/SegmentationClassAug/2007_000032.png",
    ],
    "pascal_context_59": ["VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg", "VOCdevkit/VOC2010/trainval_merged.json"],
    "pascal_context_459": [
        "VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg",
        "VOCdevkit/VOC2010/labels.txt",
        "VOCdevkit/VOC2010/trainval/2008_000002.mat",
    ],
}
