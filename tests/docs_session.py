"""Runs snippets of Python that come as lines of JSON, in one namespace; answers each by its traceback, "" for none."""

import contextlib
import json
import sys
import traceback

answers = sys.stdout
names: dict = {"__name__": "__main__"}
for line in sys.stdin:
    told = ""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(json.loads(line), "snippet", "exec"), names)
    except BaseException:
        told = traceback.format_exc()
    print(json.dumps(told), file=answers, flush=True)
