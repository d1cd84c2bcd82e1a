"""What the web page refuses: to ask other machines."""

import json
import socket

import pytest
import safehttpx
from page_process import app_arguments
from starlette.testclient import TestClient

from ovss.page import server
from ovss.page.desk import GONE

SITE = "http://localhost:7860"


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


def test_nothing_is_taken_that_nobody_would_remove(client):
    assert client.post("/gradio_api/process_recording", content=b"x").status_code == 403
