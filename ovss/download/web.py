"""One GET over http or https: what went wrong is either worth another try (`Dropped`) or not.

No other scheme can be reached, not by a redirection either. The token in HF_TOKEN is sent to Hugging Face's hub and to
nobody else, not by a redirection either. Standard library only.
"""

import http.client
import os
import re
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from ovss import __version__

TIMEOUT = 60  # seconds without a byte
CHUNK = 1 << 18
HUB = ("https", "huggingface.co")  # who may see HF_TOKEN
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class Dropped(Exception):
    """The connection ended early, or the server asks to come back later."""


class CannotResume(Dropped):
    """The server has nothing from the byte on that was asked for."""


def _authorised(request: Request) -> Request:
    """The same request, with the user's token where it goes to the hub; a redirection does not carry it on."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or urlsplit(request.full_url)[:2] != HUB:
        return request
    if not re.fullmatch(r"[!-~]+", token):  # http.client would refuse it, and print it
        raise ValueError("HF_TOKEN holds spaces or other characters that no token has: set it again, or unset it")
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


class Redirects(HTTPRedirectHandler):
    """Follows to the same scheme or from http to https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        here, there = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if there not in (here, "https"):
            raise ValueError(f"{req.full_url} redirects to {newurl}: refused, it must stay {here} or become https")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        return request and _authorised(request)


def get(url: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, int, int | None]:
    """Ask for `url`; return the answer, which byte of the file it starts with, and the file's size where that is said.

    Raises:
        Dropped: no connection, or an answer that says so.
        ConnectionError: the server refuses.
        ValueError: a redirection to another scheme, or a token that is none.
    """
    opener = OpenerDirector()  # build_opener would add file: and ftp:
    for handler in (ProxyHandler, UnknownHandler, HTTPHandler, HTTPSHandler, Redirects, HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    opener.add_handler(HTTPErrorProcessor())
    headers = {"User-Agent": f"ovss/{__version__}", "Accept-Encoding": "identity", **headers}
    try:
        response = opener.open(_authorised(Request(url, headers=headers)), timeout=TIMEOUT)
    except HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise CannotResume(answer) from error
        if error.code in _BUSY:
            raise Dropped(answer) from error
        raise ConnectionError(f"{url}: {answer}") from error
    except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise Dropped(f"no connection ({getattr(error, 'reason', error)})") from error
    if response.status != http.client.PARTIAL_CONTENT:
        return response, 0, response.length
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not said:
        response.close()
        raise CannotResume("the server does not say which part of the file it sends")
    return response, int(said[1]), None if said[2] == "*" else int(said[2])


def read(response: http.client.HTTPResponse) -> bytes:
    """Up to `CHUNK` bytes, as they come; none at the end. Raises Dropped."""
    try:
        return response.read1(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise Dropped(f"connection lost ({error or type(error).__name__})") from error
