"""Published weights from a real server on this machine: fetched once, resumed, verified, offline, from other caches."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from file_server import Served
from small_weights import CONTENT, SHA256, put_into_hub, small_weights

from ovss.download import transfer
from ovss.weights import store
from ovss.weights.store import fetch, find_here, published_path, resolve
from ovss.weights.table import find

OTHER = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]


@pytest.fixture
def server(monkeypatch, tmp_path):
    with small_weights(monkeypatch, tmp_path) as server:
        yield server


def test_fetched_once_into_the_cache(server, tmp_path, caplog):
    path = fetch("clip_small")
    assert path == tmp_path / "cache/weights/clip.pt" == store.folder() / "clip.pt"
    assert path.read_bytes() == CONTENT
    assert fetch("clip_small") == path
    assert server.requests == [("clip.pt", "")]
    assert "could not be verified" not in caplog.text


def test_broken_download_is_gone_on_with(server):
    server.files["clip.pt"] = Served(CONTENT, drops=[100_000, 0, 0, 0])
    with pytest.raises(
        ConnectionError, match=r"clip_small: .*The 100000 bytes so far are kept.* put there as .*clip\.pt"
    ):
        fetch("clip_small")
    server.files["clip.pt"].drops.clear()
    assert fetch("clip_small").read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_wrong_file_is_refused_with_both_sums(server):
    server.files["clip.pt"] = Served(OTHER)
    with pytest.raises(ValueError, match=rf"published \(by us\) is sha256 {SHA256}: set aside"):
        fetch("clip_small")
    assert sorted(path.name for path in store.folder().iterdir()) == ["clip.pt.lock", "clip.pt.wrong"]
    server.files["clip.pt"] = Served(CONTENT)
    assert fetch("clip_small").read_bytes() == CONTENT


def test_what_has_no_published_sum_is_said(server, caplog):
    assert fetch("cat_small").read_bytes() == CONTENT
    assert "cat_small: no checksum was published, so that the file could not be verified" in caplog.text


def test_file_is_read_again_only_after_a_change(server, monkeypatch):
    path = fetch("clip_small")
    reads = []
    whole = transfer.mismatch
    monkeypatch.setattr(transfer, "mismatch", lambda *args: reads.append(args) or whole(*args))
    fetch("clip_small")
    assert not reads
    os.utime(path, ns=(0, 0))
    assert [fetch("clip_small"), fetch("clip_small")] == [path, path]
    assert len(reads) == 1
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="set aside"):
        fetch("clip_small")
    assert not path.exists()


@pytest.mark.parametrize("note", ["", "[]", "{"])
def test_damaged_note_costs_a_reading_alone(server, note):
    path = fetch("clip_small")
    (store.folder() / "checked.json").write_text(note)
    assert fetch("clip_small") == path
    assert len(server.requests) == 1


def test_many_at_once_download_once(server):
    server.files["clip.pt"].pause = 0.001
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch, ["clip_small"] * 4))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert server.requests == [("clip.pt", "")]


@pytest.mark.parametrize("word", ["1", "true", "Yes", "ON"])
def test_offline_opens_no_connection_and_says_what_to_put_where(server, monkeypatch, word):
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    with pytest.raises(
        ConnectionError, match=r"HF_HUB_OFFLINE forbids.* put http://\S+/clip\.pt there as \S+/clip\.pt"
    ):
        fetch("clip_small")
    assert server.requests == []
    store.folder().mkdir(parents=True)
    (store.folder() / "clip.pt").write_bytes(CONTENT)
    assert fetch("clip_small") == store.folder() / "clip.pt"
    assert server.requests == []


@pytest.mark.parametrize("word", ["", "0", "false"])
def test_not_offline(server, monkeypatch, word):
    monkeypatch.setenv("HF_HUB_OFFLINE", word)
    assert fetch("clip_small").exists()


def test_by_hand(server):
    with pytest.raises(
        ValueError, match=r"cannot be downloaded by a program: open https://a\.b .* Put it there as \S+hand"
    ):
        fetch("hand_small")
    store.folder().mkdir(parents=True)
    (store.folder() / "hand.pth").write_bytes(b"x")
    assert fetch("hand_small") == store.folder() / "hand.pth"


def test_mirror_of_the_hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url(""))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.files["org/clip/resolve/main/open_clip_pytorch_model.bin"] = Served(CONTENT)
    assert fetch("clip_hub") == store.folder() / "hub.bin"
    assert server.authorizations == [None], "a mirror is not the hub"


def test_copy_of_open_clip_is_taken_if_right_and_left_alone_if_not(server, tmp_path, caplog):
    copy = tmp_path / ".cache/clip/clip.pt"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(OTHER)
    with caplog.at_level(logging.WARNING):
        assert fetch("clip_small") == store.folder() / "clip.pt"
    assert f"clip_small: not taking {copy}, which has sha256" in caplog.text
    assert copy.read_bytes() == OTHER
    (store.folder() / "clip.pt").unlink()
    copy.write_bytes(CONTENT)
    assert fetch("clip_small") == copy
    assert len(server.requests) == 1


def test_copies_of_the_hubs_client(server, tmp_path):
    """Of another file of the same weights nothing was published; of the very file the sum was."""
    other = put_into_hub(tmp_path, "timm/clip", "open_clip_model.safetensors", b"other file")
    assert fetch("clip_small") == other
    same = put_into_hub(tmp_path, "org/clip", "open_clip_pytorch_model.bin", OTHER)
    assert find_here(find("clip_hub")) is None
    same.write_bytes(CONTENT)
    assert fetch("clip_hub") == same
    assert server.requests == []


def test_published_path_of_a_model(server):
    assert published_path("cat_seg/vitb_384") == ("MODEL.WEIGHTS", store.folder() / "cat.pth")
    assert published_path("cat_seg/vith_336") is None
    with pytest.raises(ValueError, match="'cat_seg/vitb_999'"):
        published_path("cat_seg/vitb_999")


def test_resolve_takes_paths_before_names(server, tmp_path, monkeypatch):
    assert resolve(tmp_path) == tmp_path
    assert resolve("cat_small") == store.folder() / "cat.pth"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat_small").mkdir()
    assert str(resolve("cat_small")) == "cat_small"
    with pytest.raises(
        ValueError, match="weights cat_smal: no such file or folder; did you mean the published 'cat_small'"
    ):
        resolve("cat_smal")
    with pytest.raises(ValueError, match=r"weights /none/x\.pt: no such file or folder$"):
        resolve("/none/x.pt")


def test_folder_that_cannot_be_made(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OVSS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        fetch("clip_small")
    assert server.requests == []
