"""The web page as a server: what it listens on, what it refuses, what it leaves behind. No browser."""

import json
import socket
import sys

import pytest
from page_process import ROOT, answer, app_arguments, outcome, running

from ovss.cli import main
from ovss.page import server
from ovss.page.desk import NO_PICTURE
from ovss.page.intake import MAX_BYTES
from ovss.page.systems import load_systems

SECRET = "what is on the server's disk"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with running(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_every_answer_tells_the_browser_to_ask_nobody_else(address):
    status, body, headers = answer(address, "")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    for host in (b"googleapis", b"gstatic", b"cdnjs"):
        assert host not in body


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        f"gradio_api/file={ROOT}/setup.cfg",
        "gradio_api/file=setup.cfg",
        "gradio_api/file=../../etc/passwd",
        "gradio_api/file=http://127.0.0.1:9/a.png",
        "gradio_api/file=HTTP://127.0.0.1:9/a.png",
        "gradio_api/proxy=http://127.0.0.1:9/a.png",
    ],
)
def test_no_file_of_the_disk_and_no_other_address(address, path):
    status, body, _ = answer(address, path)
    assert status in (403, 404)
    assert b"root:" not in body
    assert b"metadata" not in body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200),
        ("127.0.0.1", 200),
        ("[::1]:7860", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
    ],
)
def test_it_answers_under_its_own_names_alone(address, host, status):
    """A site whose name points to this machine (DNS rebinding) gets nothing."""
    got, body, _ = answer(address, "config", host=host)
    assert got == status
    assert (b"dependencies" in body) == (status == 200)


@pytest.mark.parametrize(
    ("host", "served_as", "known"),
    [
        ("127.0.0.1", [], {"localhost", "127.0.0.1"}),
        ("127.0.0.1", ["demo.example.org"], {"localhost", "127.0.0.1", "demo.example.org"}),
        ("0.0.0.0", ["demo.example.org"], {"demo.example.org"}),
        ("0.0.0.0", [], {"*"}),
    ],
)
def test_names_that_a_page_goes_by(host, served_as, known):
    with server.listen(host, 0) as connection:
        assert {*server.known_hosts(connection, served_as)} - {"::1", "[::1]"} == known


def test_a_made_up_upload_reads_nothing(address, tmp_path):
    """The event of an upload with the path of a file that was never sent."""
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    for number, path in enumerate((str(secret), "/etc/passwd", "http://127.0.0.1:9/a.png")):
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        message = outcome(address, "upload", [sent], f"upload{number}")
        assert not message["success"], message
        assert SECRET not in json.dumps(message)
        assert "root:" not in json.dumps(message)
    assert secret.read_text() == SECRET, "it is not removed either"


@pytest.mark.parametrize("index", [-1, 99, "0", None, 0.5])
def test_a_made_up_example_is_refused(address, index):
    message = outcome(address, "example", [], f"example{index}", {"event_data": {"index": index}})
    assert not message["success"]


def test_views_before_a_run_say_so(address):
    message = outcome(address, "scores", [None], "early", {"event_data": {"index": 0}})
    assert message["success"]
    assert "press Segment" in message["output"]["data"][0]["text"]


def test_a_picture_that_the_server_has_forgotten_is_no_other(address):
    message = outcome(address, "click", [None, "number", "grass", None], "forgotten")
    assert message["success"]
    assert NO_PICTURE in message["output"]["data"][3]


def test_a_large_upload_is_refused(address):
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + bytes(MAX_BYTES + 1) + b"\r\n--B--\r\n"
    assert answer(address, "gradio_api/upload", body, "multipart/form-data; boundary=B")[0] == 413


def test_it_listens_on_this_machine_alone():
    arguments = app_arguments()
    with server.listen(arguments.host, arguments.port) as connection:
        assert connection.getsockname()[0] == "127.0.0.1"
        port = connection.getsockname()[1]
        assert server.address(connection) == f"http://127.0.0.1:{port}/"
        with pytest.raises(
            OSError, match=rf"cannot listen on 127.0.0.1, port {port}: .*; give another --host or --port"
        ):
            server.listen("127.0.0.1", port)
    with pytest.raises(OSError, match=r"cannot listen on nowhere\.invalid"):
        server.listen("nowhere.invalid", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_addresses_of_version_6_have_brackets():
    try:
        connection = server.listen("::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with connection:
        assert server.address(connection).startswith("http://[::1]:")


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(server.util, "find_spec", lambda name: None)
    assert main(["app", "--port", "0"]) == 2
    assert capsys.readouterr().err == "ovss: error: ovss app needs Gradio: pip install 'ovss[demo]'\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cat-seg", "quickstart/cliptrase"], "--cat-seg quickstart/cliptrase: a model of CLIPtrase, not CAT-Seg"),
        (["--cliptrase", "quickstart/cat_seg"], "--cliptrase quickstart/cat_seg: a model of CAT-Seg, not CLIPtrase"),
        (["--cat-seg", "cat_seg/vitb"], "no model is called 'cat_seg/vitb'"),
    ],
)
def test_models_that_do_not_fit(words, message):
    with pytest.raises(ValueError, match=message):
        load_systems(app_arguments(*words))


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_ports_that_there_are_not(port, capsys):
    with pytest.raises(SystemExit) as end:
        main(["app", "--port", port])
    assert end.value.code == 2
    assert "expected a port, 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["https://demo.example.org", "demo.example.org:8443", "*", "a.*.org", ""])
def test_sites_that_are_no_names(name, capsys):
    with pytest.raises(SystemExit) as end:
        main(["app", "--served-as", name])
    assert end.value.code == 2
    assert "expected a name alone, such as demo.example.org" in capsys.readouterr().err
