"""Who is asked, and who sees the user's token: redirections, and a server on this machine that notes what comes."""

from urllib.request import Request

import pytest
from file_server import Served, serve

from ovss.download import web
from ovss.download.web import Redirects

TOKEN = "hf_abcDEF123"


@pytest.fixture
def server(monkeypatch):
    """A server; what is asked of 127.0.0.1 is asked of the hub, and of localhost, the same server, of somebody else."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve() as server:
        monkeypatch.setattr(web, "HUB", ("http", f"127.0.0.1:{server.server_port}"))
        yield server


def elsewhere(server, name: str) -> str:
    return f"http://localhost:{server.server_port}/{name}"


def get(url: str) -> bytes:
    response, _, _ = web.get(url, {})
    with response:
        return response.read()


def test_https_is_not_left_for_http():
    redirect = Redirects().redirect_request
    with pytest.raises(ValueError, match="https://a/x redirects to http://a/x: refused"):
        redirect(Request("https://a/x"), None, 302, "", {}, "http://a/x")
    assert redirect(Request("http://a/x"), None, 302, "", {}, "https://a/x").full_url == "https://a/x"


def test_the_hub_is_huggingface_over_https():
    assert web.HUB == ("https", "huggingface.co")


def test_token_goes_to_the_hub_alone(server):
    server.files["a"] = Served(b"content")
    assert get(server.url("a")) == b"content"
    assert get(elsewhere(server, "a")) == b"content"
    assert server.authorizations == [f"Bearer {TOKEN}", None]


def test_no_token_no_header(server, monkeypatch):
    server.files["a"] = Served(b"content")
    for nothing in (None, "", " \n"):
        monkeypatch.delenv("HF_TOKEN") if nothing is None else monkeypatch.setenv("HF_TOKEN", nothing)
        get(server.url("a"))
    assert server.authorizations == [None, None, None]


def test_redirection_carries_the_token_within_the_hub_and_not_out_of_it(server):
    server.files["old"] = Served(b"", redirect=server.url("new"))
    server.files["new"] = Served(b"", redirect=elsewhere(server, "storage"))
    server.files["storage"] = Served(b"content")
    assert get(server.url("old")) == b"content"
    assert [path for path, _ in server.requests] == ["old", "new", "storage"]
    assert server.authorizations == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]


@pytest.mark.parametrize(
    "host", ["huggingface.co.evil.org", "evil.org/huggingface.co", "hub@huggingface.co", "cdn-lfs.huggingface.co"]
)
def test_hosts_that_look_like_the_hub_are_not(monkeypatch, host):
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def sent(url):
        return web._authorised(Request(url)).unredirected_hdrs

    assert not sent(f"https://{host}/a")
    assert not sent("http://huggingface.co/a"), "not in the open"
    assert sent("https://huggingface.co/a") == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("token", ["hf_abc def", "hf_abc\r\nHost: evil.org", "hf_\u00e9"])
def test_token_that_is_none_is_not_printed(server, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match="HF_TOKEN holds spaces or other characters") as caught:
        get(server.url("a"))
    assert "hf_" not in str(caught.value)
    assert not server.requests
