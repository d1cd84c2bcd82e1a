"""Starts the web page as users do, as a process of its own, and reads its pages without a browser."""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovss.commands.app import add_arguments

ROOT = Path(__file__).parent.parent
PATIENCE = 240  # seconds; a start takes about ten


def app_arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--device", "cpu", "--port", "0", *words])


@contextmanager
def running(folder: Path, *start: str) -> Iterator[str]:
    """The address of `ovss app`, with temporary files and cache below `folder`; it ends well and leaves no file there.

    `start` replaces `-m ovss` of the command.
    """
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    caches = {"OVSS_CACHE": str(folder / "cache"), "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *(start or ("-m", "ovss")), "app", "--port", "0", "--device", "cpu"]
    with (
        open(folder / "stderr", "w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **caches}, cwd=ROOT
        ) as process,
    ):
        try:
            yield _address(process, folder / "stderr")
            assert process.poll() is None, "the page has stayed up"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(temporary.glob("ovss-app*")), "what users sent is gone"


def _address(process: subprocess.Popen, log: Path) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    line = process.stdout.readline() if ready else ""
    assert line.startswith("ovss: the page is at http://127.0.0.1:"), f"{line!r}\n{log.read_text()}"
    return line.split()[-1]


def answer(
    address: str, path: str, data: bytes | None = None, kind: str = "application/json", host: str = ""
) -> tuple[int, bytes, Any]:
    """Status, body and headers of one request; `host`: asked under another name."""
    headers = {**({"Content-Type": kind} if data else {}), **({"Host": host} if host else {})}
    request = urllib.request.Request(address + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def dependency(address: str, name: str) -> int:
    """The number of the event `name`."""
    config = json.loads(answer(address, "config")[1])
    (number,) = [each["id"] for each in config["dependencies"] for _, event in each["targets"] if event == name]
    return number


def outcome(
    address: str, event: str, data: list[Any], session: str, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the page's queue says to an event that a client makes up: its message "process_completed"."""
    request = {"data": data, "fn_index": dependency(address, event), "session_hash": session, **(more or {})}
    status, body, _ = answer(address, "gradio_api/queue/join", json.dumps(request).encode())
    assert status == 200, body
    end = time.monotonic() + 60
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data: ") and time.monotonic() < end:
                message = json.loads(line[6:])
                if message["msg"] == "process_completed":
                    return message
    raise AssertionError("the queue has not answered")
