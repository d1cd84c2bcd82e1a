"""The index of ADE20K: the pictures of a split in its order; what it names elsewhere, or is not, is refused."""

import os
import pickle
import shutil
from functools import partial

import numpy as np
import pytest

from ovss.datasets.ade20k_index import IMAGES, INDEX, find_pictures

FOLDER = f"{IMAGES}/ADE/validation/street"


def write(root, index):
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / INDEX).write_bytes(pickle.dumps(index))


def test_the_name_says_the_split(tmp_path):
    names = [f"ADE_{part}.jpg" for part in ("val_2", "train_1", "frame_7", "val_1")]
    folders = [FOLDER, IMAGES, IMAGES, f"{FOLDER}/alley"]
    write(tmp_path, {"filename": names, "folder": folders, "objectPresence": np.zeros((9, 4))})
    val, train = (find_pictures(tmp_path, split) for split in ("val", "train"))
    assert val == [tmp_path / FOLDER / "ADE_val_2.jpg", tmp_path / FOLDER / "alley/ADE_val_1.jpg"]
    assert train == [tmp_path / IMAGES / "ADE_train_1.jpg", tmp_path / IMAGES / "ADE_frame_7.jpg"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/etc", "ADE_val_1.jpg"),
        (f"{FOLDER}/../../../../..", "ADE_val_1.jpg"),
        ("VOCdevkit", "ADE_val_1.jpg"),
        (FOLDER, "../ADE_val_1.jpg"),
        (FOLDER, "/ADE_val_1.jpg"),
        (FOLDER, "ADE_val_1.png"),
        (FOLDER, "ADE_val_1.jpg\n"),
        (f"{FOLDER}\0", "ADE_val_1.jpg"),
        (f"{FOLDER}/link", "ADE_val_1.jpg"),
    ],
)
def test_no_picture_is_taken_from_elsewhere(tmp_path, tmp_path_factory, folder, name):
    write(tmp_path, {"filename": [name], "folder": [folder]})
    (tmp_path / FOLDER / "link").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ValueError, match=r"index_ade20k.pkl: it names '.*', which is no picture in .*images"):
        find_pictures(tmp_path, "val")


def test_folders_of_the_user_may_be_links(tmp_path, tmp_path_factory):
    write(tmp_path, {"filename": ["ADE_val_1.jpg"], "folder": [FOLDER]})
    elsewhere = tmp_path_factory.mktemp("disk") / "pictures"
    shutil.move(tmp_path / IMAGES, elsewhere)
    (tmp_path / IMAGES).symlink_to(elsewhere)
    assert find_pictures(tmp_path, "val") == [tmp_path / FOLDER / "ADE_val_1.jpg"]


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (["a"], 'no list "folder" of strings'),
        ({"folder": ["a"]}, 'no list "filename" of strings'),
        ({"folder": ["a", 3], "filename": ["b", "c"]}, 'no list "folder" of strings'),
        ({"folder": ["a"], "filename": ["b", "c"]}, "1 folders and 2 file names"),
        ({"folder": [], "filename": []}, "no picture of val"),
        ({"folder": [FOLDER] * 2, "filename": ["ADE_val_1.jpg"] * 2}, "two pictures of the same name of val"),
        (partial(os.system), "it asks for functools.partial"),
    ],
)
def test_another_index_is_named(tmp_path, index, reason):
    write(tmp_path, index)
    with pytest.raises(ValueError, match=f"index_ade20k.pkl: .*{reason}"):
        find_pictures(tmp_path, "val")


def test_no_index(tmp_path):
    with pytest.raises(ValueError, match=r"index_ade20k.pkl: no such file; .*README"):
        find_pictures(tmp_path, "val")
