"""Downloads from a real server on this machine that drops, lies, refuses and changes its mind."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import Served, serve

from ovss.download import transfer
from ovss.download.remote_file import RemoteFile
from ovss.download.transfer import fetch

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "*")
    with serve() as server:
        yield server


def file_of(server, size: int | None = len(CONTENT), checksum: str = SHA256) -> RemoteFile:
    return RemoteFile(server.url("a.zip"), "a.zip", size, checksum, "somebody")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_file_and_nothing_else(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT)
    assert fetch(file_of(server), tmp_path / "new" / "folder").read_bytes() == CONTENT
    assert names(tmp_path / "new" / "folder") == ["a.zip"]
    fetch(file_of(server), tmp_path / "new" / "folder")  # there already: not asked for again
    assert server.requests == [("a.zip", "")]


@pytest.mark.parametrize(("size", "checksum"), [(len(CONTENT), SHA256), (None, "")])
def test_goes_on_where_the_connection_broke(server, tmp_path, size, checksum):
    server.files["a.zip"] = Served(CONTENT, drops=[100_000, 0, 50_000])
    assert fetch(file_of(server, size, checksum), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["", "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert sum(server.sent) == len(CONTENT)  # no byte came twice


def test_gives_up_after_tries_that_bring_nothing_and_goes_on_in_the_next_run(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT, drops=[100_000, *[0] * 9])
    with pytest.raises(ConnectionError, match=r"4 tries in a row.* The 100000 bytes so far are kept in .*a\.zip\.part"):
        fetch(file_of(server), tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:100_000]
    server.files["a.zip"].drops.clear()
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_any_number_of_breaks_is_gone_on_from_as_long_as_each_try_brings_something(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT, drops=[70_000] * 4)
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 5 > len(transfer.WAITS) + 1


def test_trickle_does_not_go_on_for_ever(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT, drops=[1] * 1000)
    with pytest.raises(ConnectionError, match="The 4 bytes so far"):
        fetch(file_of(server), tmp_path)


def test_killed_process_is_gone_on_with(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT, pause=0.005)
    program = (
        "import sys; from pathlib import Path; from ovss.download.transfer import fetch; "
        "from ovss.download.remote_file import RemoteFile; "
        f"fetch(RemoteFile(sys.argv[1], 'a.zip', {len(CONTENT)}, '{SHA256}'), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url("a.zip"), str(tmp_path)])
    part = tmp_path / "a.zip.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 20_000):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert 20_000 < have < len(CONTENT)
    server.files["a.zip"].pause = 0
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[1:] == [("a.zip", f"bytes={have}-")]
    assert server.sent[1] == len(CONTENT) - have


@pytest.mark.parametrize("validator", [True, False])
def test_server_that_ignores_range_starts_again(server, tmp_path, validator):
    server.files["a.zip"] = Served(CONTENT, drops=[100_000, 50_000], ranges=False, validator=validator)
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT) + 150_000


def test_server_that_always_breaks_at_the_same_byte_ends_it(server, tmp_path):
    server.files["a.zip"] = Served(CONTENT, drops=[100_000] * 99, ranges=False)
    with pytest.raises(ConnectionError, match="ended after 100000 of 300000 bytes; 4 tries in a row"):
        fetch(file_of(server), tmp_path)


@pytest.mark.parametrize("honest", [True, False], ids=["by If-Range", "206 all the same"])
def test_file_that_changed_between_tries_is_not_mixed(server, tmp_path, monkeypatch, honest):
    other = CONTENT[::-1]
    server.files["a.zip"] = Served(other, drops=[100_000, *[0] * 9])
    unchecked = file_of(server, None, "")
    with pytest.raises(ConnectionError):
        fetch(unchecked, tmp_path)
    if not honest:  # what stands in If-Range is then what the server has, whatever it has
        monkeypatch.setattr(Served, "etag", property(lambda self: '"same"' if self.content is other else '"new"'))
        note = tmp_path / "a.zip.part.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "ETag": 'W/"old"'}))
    server.files["a.zip"] = Served(CONTENT)
    before = len(server.requests)
    assert fetch(unchecked, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) - before == (1 if honest else 2), "If-Range asks an honest server for all of it at once"


@pytest.mark.parametrize("part", [{"wrong_part": 7}, {"says_part": False}], ids=str)
def test_part_of_another_place_is_not_used(server, tmp_path, part):
    server.files["a.zip"] = Served(CONTENT, drops=[100_000], **part)
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["", "bytes=100000-", ""]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": "http://elsewhere/a.zip", "size": 300000}'])
def test_part_of_unknown_origin_is_not_used(server, tmp_path, note):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.zip.part.json").write_text(note)
    server.files["a.zip"] = Served(CONTENT)
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_is_set_aside_and_said_with_both_values(server, tmp_path):
    wrong = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    server.files["a.zip"] = Served(wrong)
    with pytest.raises(ValueError, match=r"published \(by somebody\) is sha256") as caught:
        fetch(file_of(server), tmp_path)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert SHA256.removeprefix("sha256:") in str(caught.value)
    assert names(tmp_path) == ["a.zip.wrong"]
    server.files["a.zip"] = Served(CONTENT)
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT


def test_file_put_there_by_hand_is_checked_too(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"has 299999 bytes, published \(by somebody\) is 300000 bytes"):
        fetch(file_of(server), tmp_path)
    assert names(tmp_path) == ["a.zip.wrong"]


@pytest.mark.parametrize(
    ("served", "size", "message"),
    [
        (Served(CONTENT, lie=5), len(CONTENT), r"offers 300005 bytes, published \(by somebody\) are 300000"),
        (Served(CONTENT, lie=-5), len(CONTENT), r"offers 299995 bytes, published \(by somebody\) are 300000"),
        (Served(CONTENT, lie=5), None, "4 tries in a row brought nothing new"),
        (Served(CONTENT, length=False, endless=True), len(CONTENT), "sends more than 300000 bytes"),
        (Served(CONTENT, length=False, endless=True), None, "sends more than 1000000 bytes"),
        (Served(CONTENT, length=False), len(CONTENT) + 1, "4 tries in a row brought nothing new"),
        (Served(CONTENT, code=404), None, "the server answers 404 Not Found"),
        (Served(CONTENT, code=503), None, "the server answers 503 Service Unavailable; 4 tries"),
        (Served(b"<html>", content_type="text/html; charset=utf-8"), None, "answers with a page, not with the file"),
        (Served(b"", redirect="file:///etc/passwd"), None, "file:///etc/passwd"),
        (Served(b"", redirect="ftp://127.0.0.1/a.zip"), None, "redirects to ftp://127.0.0.1/a.zip: refused"),
    ],
)
def test_lies_and_refusals_end_with_a_reason(server, tmp_path, served, size, message):
    server.files["a.zip"] = served
    with pytest.raises((ValueError, ConnectionError), match=message):
        fetch(replace(file_of(server, size, ""), limit=1_000_000), tmp_path)
    assert not (tmp_path / "a.zip").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_100_000


def test_redirection_to_another_address_is_followed_and_gone_on_with(server, tmp_path):
    server.files["a.zip"] = Served(b"", redirect="/b.zip")
    server.files["b.zip"] = Served(CONTENT, drops=[100_000])
    assert fetch(file_of(server), tmp_path).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_full_disk_is_met_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    server.files["a.zip"] = Served(CONTENT)
    with pytest.raises(OSError, match="300000 bytes are still to come, 1000 are free"):
        fetch(file_of(server), tmp_path)
    assert not (tmp_path / "a.zip.part").exists()
