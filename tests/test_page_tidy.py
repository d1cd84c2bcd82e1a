"""What users of the web page left on the disk goes in time, and nothing else does."""

import os
import time

from ovss.page import tidy as room
from ovss.page.tidy import LEAST, RESULTS_KEPT, UPLOADS_KEPT, stored, tidied, tidy

NOW = 1_000_000.0


def put(path, age: float):
    """A file in its folder, both of an age in seconds."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for each in (path, path.parent):
        os.utime(each, (NOW - age, NOW - age))
    return path


def test_old_files_go_with_their_folders(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    old = [put(folder / "a1" / "old.png", UPLOADS_KEPT + 1), put(folder / "result_1" / "old.zip", RESULTS_KEPT + 1)]
    new = [put(folder / "b2" / "new.png", UPLOADS_KEPT - 1), put(folder / "result_2" / "new.zip", RESULTS_KEPT - 1)]
    mixed = [put(folder / "c3" / "old.png", UPLOADS_KEPT + 1), put(folder / "c3" / "new.png", 1)]
    beside = put(tmp_path / "other" / "old.png", RESULTS_KEPT + 1)
    (folder / "link").symlink_to(tmp_path / "other")
    tidy(folder, NOW)
    assert not any(path.exists() for path in (*old, mixed[0]))
    assert all(path.exists() for path in (*new, mixed[1], beside))
    for path in old:
        os.utime(path.parent, (NOW, NOW))  # when its file went
    tidy(folder, NOW + UPLOADS_KEPT)
    assert all(path.parent.exists() for path in old), "somebody may be about to put a file there"
    tidy(folder, NOW + RESULTS_KEPT + 1)
    assert not any(path.parent.exists() for path in old)


def test_it_goes_on_until_the_block_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "EVERY", 0.01)
    with tidied(tmp_path):
        path = tmp_path / "old.png"
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
        end = time.monotonic() + 30
        while path.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert not path.exists()
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    time.sleep(0.05)
    assert path.exists()


def test_what_is_stored_is_counted(tmp_path):
    assert stored(tmp_path) == 0
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / "large.png").write_bytes(bytes(3 * LEAST))
    assert stored(tmp_path) == 4 * LEAST
    (tmp_path / "a1" / "empty.png").touch()
    assert stored(tmp_path) == 5 * LEAST, "files of no bytes fill a disk too"
    assert stored(tmp_path / "gone") == 0
