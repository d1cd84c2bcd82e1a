"""What the web page refuses: other sites, large requests, more than it may store, and to ask other machines."""

import json
import socket

import pytest
import safehttpx
from page_process import app_arguments
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from ovss.page import guard, server
from ovss.page.desk import GONE
from ovss.page.guard import MAX_BODY, is_foreign
from ovss.page.intake import MAX_BYTES
from ovss.page.tidy import FULL

SITE = "http://localhost:7860"
FORM = "multipart/form-data; boundary=B"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def client(folder):
    """The page in this process, as a client on this machine asks it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(safehttpx, "get", safehttpx.get)  # so that it is put back
        application = server.build(app_arguments(), folder, ["localhost"])
        with TestClient(application, SITE) as client:
            yield client


def form(*contents: bytes) -> bytes:
    """The body of an upload of files."""
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in contents) + b"--B--\r\n"


def send(client, body: bytes, **headers: str):
    return client.post(guard.UPLOAD, content=body, headers={"Content-Type": FORM, **headers})


def files(folder) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("more", [{}, {"is_stream": True}, {"url": "https://example.com/b.png"}])
@pytest.mark.parametrize("path", ["https://example.com/a.png", "http://93.184.215.14/a.png"])
def test_an_address_for_a_picture_is_never_asked(client, monkeypatch, path, more):
    """The event of an upload that a client makes up, with a file that is elsewhere: neither looked up nor reached."""
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **_: asked.append(given) or [])
    monkeypatch.setattr(socket.socket, "connect", lambda _, place: asked.append(place))
    config = client.get("/config").json()
    (event,) = [each["id"] for each in config["dependencies"] if each["targets"][0][1] == "upload"]
    sent = {"path": path, "meta": {"_type": "gradio.FileData"}, **more}
    session = f"{path}{more}"
    client.post("/gradio_api/queue/join", json={"data": [sent], "fn_index": event, "session_hash": session})
    told = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    (end,) = [json.loads(line[6:]) for line in told.splitlines() if '"process_completed"' in line]
    assert not asked
    assert not end["success"] or GONE in end["output"]["data"][-1]


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"host": "localhost:7860", "origin": SITE}, False),
        ({"host": "localhost:7860", "origin": SITE, "sec-fetch-site": "same-origin"}, False),
        ({"host": "demo.example.org", "origin": "https://demo.example.org"}, False),
        ({"host": "demo.example.org:443", "origin": "https://demo.example.org"}, False),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, False),
        ({"host": "localhost:7860", "origin": "http://localhost:3000"}, True),
        ({"host": "localhost:7860", "origin": "http://localhost"}, True),
        ({"host": "demo.example.org", "origin": "https://evil.example"}, True),
        ({"host": "demo.example.org", "origin": "https://demo.example.org.evil.example"}, True),
        ({"host": "demo.example.org", "origin": "null"}, True),
        ({"host": "demo.example.org", "sec-fetch-site": "cross-site"}, True),
    ],
)
def test_who_is_another_site(headers, foreign):
    assert is_foreign(Headers(headers)) == foreign


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": SITE}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_another_site_can_send_nothing(client, folder, headers, status):
    before = files(folder)
    answer = send(client, form(json.dumps([headers, status]).encode()), **headers)
    assert answer.status_code == status
    assert files(folder) == before + (status == 200)
    assert "Content-Security-Policy" in answer.headers
    assert client.get("/", headers=headers).status_code == 200, "a link from there may lead here"


@pytest.mark.parametrize("streamed", [False, True], ids=["its length told", "streamed"])
@pytest.mark.parametrize(
    ("path", "limit"), [("/gradio_api/queue/join", MAX_BODY), (guard.UPLOAD, MAX_BODY + MAX_BYTES)]
)
def test_requests_have_a_limit(client, path, limit, streamed):
    """An upload of many files, each of which would do; and words without end."""
    body = form(*[bytes(2**20)] * 22) if path == guard.UPLOAD else b'{"data": ["' + b"x" * limit + b'"]}'
    headers = {"Content-Type": FORM if path == guard.UPLOAD else "application/json"}
    answer = client.post(path, content=iter([body]) if streamed else body, headers=headers)
    assert answer.status_code == 413
    assert "limit" in answer.text


def test_what_says_that_it_is_too_large_is_not_even_read(tmp_path):
    client = TestClient(guard.Guard(lambda *_: pytest.fail("it was"), tmp_path), SITE)
    assert client.post("/", headers={"Content-Length": str(MAX_BODY + 1)}).status_code == 413


def test_a_file_of_the_largest_size_fits(client):
    assert send(client, form(bytes(MAX_BYTES))).status_code == 200


def test_nothing_is_taken_that_nobody_would_remove(client):
    assert client.post("/gradio_api/process_recording", content=form(b"x")).status_code == 403


def test_uploads_have_a_limit_together(client, folder, monkeypatch):
    held = guard.stored(folder)
    monkeypatch.setattr(guard, "MAX_STORED", held + MAX_BODY + MAX_BYTES)
    assert send(client, form(b"the last")).status_code == 200
    before = files(folder)
    refused = send(client, form(b"one more"))
    assert (refused.status_code, refused.text) == (503, FULL)
    assert files(folder) == before
    monkeypatch.setattr(guard, "MAX_STORED", held + 2 * (MAX_BODY + MAX_BYTES))
    assert send(client, form(b"again")).status_code == 200, "none is counted as under way any more"
