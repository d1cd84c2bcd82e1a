"""PASCAL-Context's annotation file with made-up regions, for tests of what is made from it."""

import json

from PIL import Image

from ovss.datasets.detail import FILE, FOLDER


def region(image_id, category, size, counts):
    return {"image_id": image_id, "category_id": category, "segmentation": {"size": list(size), "counts": counts}}


def write_annotations(root, pictures, regions):
    """Write trainval_merged.json and photos for `pictures` {name: (phase, (height, width))}, numbered from 0."""
    (root / FOLDER / "JPEGImages").mkdir(parents=True)
    entries = []
    for number, (name, (phase, (height, width))) in enumerate(pictures.items()):
        entries.append(
            {"image_id": number, "file_name": f"{name}.jpg", "height": height, "width": width, "phase": phase}
        )
        Image.new("RGB", (width, height)).save(root / FOLDER / "JPEGImages" / f"{name}.jpg")
    (root / FILE).write_text(json.dumps({"images": entries, "annos_segmentation": regions, "parts": []}))
