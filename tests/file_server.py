"""An HTTP server with the manners of real ones: drops connections, lies about lengths, ignores Range, redirects."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep


@dataclass
class Served:
    """A file and what goes wrong with it. Each request takes the next of `drops`: bytes after which it is cut off."""

    content: bytes
    drops: list[int] = field(default_factory=list)
    ranges: bool = True  # honour Range
    validator: bool = True  # send an ETag
    lie: int = 0  # added to Content-Length
    length: bool = True  # send one
    endless: bool = False
    code: int = 200  # of the refusal, where it is none of 2xx
    redirect: str = ""
    pause: float = 0  # seconds after each KiB
    wrong_part: int = 0  # added to the first byte of a partial answer
    says_part: bool = True  # send Content-Range with it
    content_type: str = ""

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class FileServer(ThreadingHTTPServer):
    """`files` by path; of each request: (path, Range or "") in `requests`, bytes of the body in `sent`, and what it
    brought as Authorization in `authorizations`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str]] = []
        self.sent: list[int] = []
        self.authorizations: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self):
        served = self.server.files[self.path.strip("/")]
        asked = self.headers.get("Range", "")
        self.server.requests.append((self.path.strip("/"), asked))
        self.server.sent.append(0)
        self.server.authorizations.append(self.headers.get("Authorization"))
        self.number = len(self.server.sent) - 1
        if served.redirect:
            self.send_response(302)
            self.send_header("Location", served.redirect)
            self.end_headers()
        elif served.code != 200:
            self.send_error(served.code)
        else:
            self._send(served, asked)

    def _send(self, served: Served, asked: str) -> None:
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.ranges else 0
        if start and self.headers.get("If-Range", served.etag) != served.etag:
            start = 0
        if start >= len(served.content) > 0:
            self.send_error(416)
            return
        body = served.content[start:]
        self.send_response(206 if start else 200)
        if start and served.says_part:
            first = start + served.wrong_part
            self.send_header("Content-Range", f"bytes {first}-{len(served.content) - 1}/{len(served.content)}")
        if served.content_type:
            self.send_header("Content-Type", served.content_type)
        if served.validator:
            self.send_header("ETag", served.etag)
        if served.length:
            self.send_header("Content-Length", str(len(body) + served.lie))
        self.end_headers()
        cut = served.drops.pop(0) if served.drops else len(body)
        try:
            while body[:cut] or served.endless:
                for place in range(0, min(cut, len(body)), 1024):
                    piece = body[place : min(place + 1024, cut)]
                    self.server.sent[self.number] += len(piece)  # before: the client may be done when write returns
                    self.wfile.write(piece)
                    sleep(served.pause)
                if not served.endless:
                    break
        except ConnectionError:
            pass  # the client had enough
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextmanager
def serve() -> Iterator[FileServer]:
    """A server in a thread."""
    server = FileServer()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
