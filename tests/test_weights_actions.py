"""`ovss weights` as a user runs it, on small weights from a server on this machine."""

import json
import os
import subprocess
import sys

import pytest
from file_server import Served
from small_weights import CONTENT, SHA256, put_into_hub, small_weights

from ovss.cli import main
from ovss.weights import store, table


@pytest.fixture
def server(monkeypatch, tmp_path):
    with small_weights(monkeypatch, tmp_path) as server:
        yield server


def run(*args) -> int:
    return main(["weights", *args])


def test_list_says_what_is_known_and_what_is_here(server, capsys):
    store.fetch("clip_small")
    assert run("list") == 0
    captured = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in captured.out.split("\n\n")[0].splitlines()}
    assert rows["clip_small"] == ["clip_small", "300,000", f"{SHA256[:12]}...", "yes", "MODEL.CLIP.WEIGHTS", "-"]
    assert rows["cat_small"] == ["cat_small", "unknown", "unknown", "-", "MODEL.WEIGHTS", "cat_seg/vitb_384"]
    assert rows["hand_small"][3:5] == ["by", "hand"]
    assert list(rows)[1:] == list(table.entries())
    assert f"Downloads go to {store.folder()}" in captured.out
    assert "  clip_small, clip_hub, cat_small, hand_small: MIT (its card)" in captured.out
    assert "  cat_seg/vith_336: nothing was published" in captured.out


def test_json_has_everything(server, capsys):
    path = store.fetch("clip_small")
    assert run("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["clip_small"]["size"], rows["clip_small"]["sha256"]) == (300_000, SHA256)
    assert rows["clip_small"]["path"] == str(path)
    unknown = ("size", "sha256", "published_by", "path", "by_hand")
    assert [rows["cat_small"][key] for key in unknown] == [None] * 5
    assert rows["cat_small"]["models"] == ["cat_seg/vitb_384"]
    assert rows["hand_small"]["url"] is None


def test_real_table_lists_without_torch():
    code = "import sys; from ovss.cli import main; main(['weights', 'list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nFalse\n")
    assert "cat_seg_vitb " in done.stdout


def test_download_says_where_and_what_was_checked(server, capsys):
    assert run("download", "clip_small", "cat_seg/vitb_384", "clip_small") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"clip_small: {store.folder() / 'clip.pt'}, 300000 bytes, SHA-256 as published (by us)",
        f"cat_small: {store.folder() / 'cat.pth'}, 300000 bytes, not verified: no checksum was published",
    ]
    assert captured.err == "", "no bars where nobody looks"


def test_one_that_fails_costs_no_other(server, capsys):
    server.files["clip.pt"] = Served(b"", code=404)
    assert run("download", "clip_small", "hand_small", "cat_small") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("cat_small: ")
    first, second = captured.err.splitlines()
    assert first.startswith("ovss: clip_small: http")
    assert "404 Not Found" in first
    assert second.startswith("ovss: hand_small cannot be downloaded by a program: open https://a.b")


def test_offline(server, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("download", "clip_small") == 1
    assert "HF_HUB_OFFLINE forbids to download it" in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize("action", ["download", "verify"])
def test_unknown_name_ends_it_before_the_work(server, capsys, action):
    assert run(action, "clip_small", "clip_smell") == 2
    assert capsys.readouterr().err == (
        "ovss: error: no published weights are called 'clip_smell'; did you mean 'clip_small'? "
        "`ovss weights list` has all names\n"
    )
    assert server.requests == []


def test_verify_reads_what_is_here_again(server, tmp_path, capsys):
    assert run("verify") == 0
    assert capsys.readouterr().out == "no published weights are on this machine\n"
    run("download", "clip_small", "cat_small")
    copy = put_into_hub(tmp_path, "org/clip", "open_clip_pytorch_model.bin", CONTENT)
    capsys.readouterr()
    assert run("verify") == 0
    assert [line.split(", ")[-1] for line in capsys.readouterr().out.splitlines()] == [
        "SHA-256 as published (by us)",
        "SHA-256 as published (by us)",
        "not verified: no checksum was published",
    ]
    stat = copy.stat()
    copy.write_bytes(CONTENT[::-1])
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # what was noted of it does not count
    assert run("verify", "clip_hub", "clip_small") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("clip_small: ")
    assert f"ovss: clip_hub: {copy} has sha256" in captured.err
    assert copy.exists(), "verify changes nothing"


def test_verify_of_what_is_not_here(server, capsys):
    assert run("verify", "cat_small") == 1
    assert capsys.readouterr().err == "ovss: cat_small: not on this machine\n"
