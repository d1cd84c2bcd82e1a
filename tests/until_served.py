"""Start a program that serves a web page until it is stopped, ask it for the page, stop it as Ctrl-C does.

    python tests/until_served.py PROGRAM ...

The exit code is 0 where the page came and the program ended by itself then.
"""

import re
import signal
import subprocess
import sys
import threading
import urllib.request

SECONDS = 300


def main(command: list[str]) -> int:
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert program.stdout is not None
    watch = threading.Timer(SECONDS, program.kill)  # then its output ends
    watch.start()
    try:
        address = first_address(program)
        with urllib.request.urlopen(address, timeout=60) as answer:
            page = answer.read().decode()
        if "<html" not in page.lower():
            raise ValueError(f"{address} is no page: {page[:200]}")
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
    finally:
        watch.cancel()
        program.kill()
    return 0 if program.returncode in (0, 128 + signal.SIGINT, -signal.SIGINT) else program.returncode


def first_address(program: subprocess.Popen[str]) -> str:
    """What it prints as its address. Raises ValueError where it ends without."""
    told = []
    assert program.stdout is not None
    for line in program.stdout:
        told.append(line)
        print(line, end="", flush=True)
        if found := re.search(r"http://127\.0\.0\.1:\d+\S*", line):
            return found[0]
    raise ValueError(f"no address was printed: {''.join(told)[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
