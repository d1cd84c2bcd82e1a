"""Pair the images of one folder with the label images of another, by file name. Reads no image."""

import logging
import os

from ovss.d2.lite.file_io import PathManager

logger = logging.getLogger(__name__)


def load_sem_seg(gt_root: str, image_root: str, gt_ext: str = "png", image_ext: str = "jpg") -> list[dict]:
    """Return one record {"file_name", "sem_seg_file_name"} per label file, in order of the names without extension.

    The labels define the data set: published sets keep the labels of a split beside the images of all splits, so images
    without a label are left out, with a warning that counts them. A label without its image is always a mistake.

    Raises:
        ValueError: a folder is missing, has no file of its extension, or a label has no image.
    """
    images = _files_by_stem(image_root, image_ext, "images")
    labels = _files_by_stem(gt_root, gt_ext, "labels")
    orphans = sorted(set(labels) - set(images))
    if orphans:
        raise ValueError(
            f"{len(orphans)} of {len(labels)} labels in {gt_root} have no .{image_ext} image in {image_root}, "
            f"the first is {labels[orphans[0]]}"
        )
    unlabelled = sorted(set(images) - set(labels))
    if unlabelled:
        logger.warning(
            f"{len(unlabelled)} of {len(images)} images in {image_root} have no .{gt_ext} label in {gt_root} "
            f"and are left out, the first is {images[unlabelled[0]]}"
        )
    logger.info(f"{len(labels)} labelled images in {image_root}")
    return [
        {"file_name": os.path.join(image_root, images[stem]), "sem_seg_file_name": os.path.join(gt_root, labels[stem])}
        for stem in sorted(labels)
    ]


def _files_by_stem(root: str, extension: str, what: str) -> dict[str, str]:
    """Name without extension -> name, of the files directly in `root`."""
    if not PathManager.isdir(root):
        raise ValueError(f"the folder of {what} {root} does not exist")
    files = {os.path.splitext(name)[0]: name for name in PathManager.ls(root) if name.endswith(extension)}
    if not files:
        raise ValueError(f"the folder of {what} {root} has no file that ends in {extension!r}")
    return files
