"""What the page refuses whoever asks, before Gradio sees it. Imports Starlette, which comes with Gradio.

Nothing is asked of any other machine: Gradio's own ways there are shut, and the browser is told to refuse them.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from ovss.page.intake import MAX_BYTES
from ovss.page.tidy import FULL, MAX_STORED, stored

# Gradio builds parts of the page from text, so that scripts of the page itself cannot be told from others; but nothing
# comes from, or goes to, another address.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
# Routes by which Gradio would send a client to other machines, fetch from them in its name, or keep what it sends
# where nothing removes it.
SHUT = ("/file=http", "/proxy=", "/process_recording")
UPLOAD = "/gradio_api/upload"
MAX_BODY = 2**20  # bytes of a request; words and numbers need a few thousand
READING = ("GET", "HEAD", "OPTIONS")  # requests that change nothing
PORTS = {"http": ":80", "https": ":443"}  # which an origin leaves out, and a proxy may not

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application, with `HEADERS` on its answers, without the routes that are `SHUT`, and within limits.

    `folder` is where uploads are put.
    """

    def __init__(self, application: Application, folder: Path):
        self.application, self.folder = application, folder
        self.uploads = 0  # under way

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        is_upload = scope["path"] == UPLOAD
        limit = MAX_BODY + (MAX_BYTES if is_upload else 0)
        self.uploads += is_upload
        try:
            check(scope, limit)
            if is_upload and await asyncio.to_thread(stored, self.folder) + self.uploads * limit > MAX_STORED:
                raise HTTPException(503, FULL)
        except HTTPException as refusal:
            await PlainTextResponse(refusal.detail, refusal.status_code)(scope, receive, send_guarded)
        else:
            await self.application(scope, counted(receive, limit), send_guarded)
        finally:
            self.uploads -= is_upload


def check(scope: MutableMapping[str, Any], limit: int) -> None:
    """Raise HTTPException for a route that is shut, another site's request, or a body of more than `limit` bytes."""
    headers = Headers(scope=scope)
    if any(route in scope["path"].lower() for route in SHUT):
        raise HTTPException(403, "not from here")
    if scope["method"] not in READING and is_foreign(headers):
        raise HTTPException(403, "not for other sites")
    if int(headers.get("content-length", 0)) > limit:
        raise too_large(limit)


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another host than the one that is asked has sent this.

    What is no browser says nothing, and is not.
    """
    scheme, _, site = headers.get("origin", "").partition("://")
    host = headers.get("host", "")
    own = "origin" not in headers or site in (host, host.removesuffix(PORTS.get(scheme, "")))
    return not own or headers.get("sec-fetch-site") == "cross-site"


def counted(receive: Receive, limit: int) -> Receive:
    """`receive`, which raises HTTPException once there are more than `limit` bytes, whatever the headers said."""
    taken = 0

    async def receive_counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise too_large(limit)
        return message

    return receive_counted


def too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"more than the limit of {limit} bytes")


async def refuse_to_fetch(url: str, *args: Any, **kwargs: Any) -> None:
    """Stands in for what Gradio fetches with: a client may give a file by an address, and Gradio would go there."""
    raise ValueError(f"{url!r} is elsewhere: nothing is fetched from other machines")
