"""Starts the page and stops it: models, address, folder of temporary files.

Gradio is imported when all else is right.
"""

import argparse
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources, util
from pathlib import Path

from ovss.page.tidy import tidied

NO_GRADIO = "ovss app needs Gradio: pip install 'ovss[demo]'"
SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
SECONDS_TO_END = 2  # for answers that are under way when the page is stopped


def serve(args: argparse.Namespace) -> int:
    """Run the page of `ovss app` until it is stopped.

    Raises:
        ValueError: no Gradio; models, weights or a device that do not exist or fit.
        OSError: the address cannot be listened on; weights that cannot be fetched.
    """
    if util.find_spec("gradio") is None:
        raise ValueError(NO_GRADIO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves by the way that tidies up
    with listen(args.host, args.port) as connection, tempfile.TemporaryDirectory(prefix="ovss-app-") as folder:
        os.environ.update(SETTINGS, GRADIO_TEMP_DIR=folder)  # before Gradio reads them
        application = build(args, Path(folder), known_hosts(connection, args.served_as))

        import uvicorn

        config = uvicorn.Config(
            application, log_level="warning", access_log=False, timeout_graceful_shutdown=SECONDS_TO_END
        )
        print(f"ovss: the page is at {address(connection)}", flush=True)
        with tidied(Path(folder)):
            uvicorn.Server(config).run([connection])
    return 0


def build(args: argparse.Namespace, folder: Path, hosts: Sequence[str]) -> Callable[..., Awaitable[None]]:
    """The page as an ASGI application.

    `folder` takes what users send and what they may download. Asked as another than `hosts`, it answers 400.
    """
    from ovss.models import OFFLINE
    from ovss.page.examples import examples
    from ovss.page.systems import load_systems

    systems = load_systems(args)
    offline = any(system.name.startswith(OFFLINE) for system in systems)

    import gradio as gr
    import safehttpx
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from ovss.page.guard import Guard, refuse_to_fetch
    from ovss.page.intake import MAX_BYTES
    from ovss.page.layout import layout

    safehttpx.get = refuse_to_fetch
    plain = gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono="monospace"
    )
    application = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        layout(systems, examples(photos=not offline), offline, folder),
        path="/",
        server_name=args.host,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        theme=plain,
        css=resources.files("ovss.page").joinpath("page.css").read_text("utf-8"),
    )
    return Guard(TrustedHostMiddleware(application, hosts, www_redirect=False), folder)


def known_hosts(connection: socket.socket, served_as: Sequence[str]) -> list[str]:
    """The names by which a browser may ask for the page.

    A page for this machine alone goes by this machine's names and `served_as`: a site that gives its own name this
    machine's address, as in DNS rebinding, reads nothing. A page that others reach goes by `served_as`, or by any name.
    """
    own = ipaddress.ip_address(connection.getsockname()[0])
    if own.is_loopback:
        return ["localhost", "127.0.0.1", "::1", "[::1]", str(own), *served_as]
    return [*served_as] or ["*"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; port 0 is any free one. Raises OSError."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(place)
            connection.listen()
        except OSError:
            connection.close()
            raise
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --host or --port"
        ) from error
    return connection


def address(connection: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = connection.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
