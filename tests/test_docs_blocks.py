"""What finds the commands of the docs, and what checks those that are not run."""

import re

import pytest
from docs_blocks import blocks_of, commands_of, inline_commands
from docs_run import check_unrun


def test_reading_of_blocks_by_hand():
    text = """
Text.

```bash title="x"
a --b 'c # d' \\
   e   # comment
# comment

VAR=1 f "g
h" && i
```

  ```python
  if x:
      y
  ```
"""
    first, second = blocks_of("page.md", text)
    assert (first.name, first.language, first.title) == ("page.md:4", "bash", "x")
    assert commands_of(first.text) == ["a --b 'c # d'    e", 'VAR=1 f "g\nh" && i']
    assert second.text == "if x:\n    y\n"
    assert inline_commands("`ovss a\nb` and `x`\n```bash\n`make c`\n```\n`make d`") == ["ovss a b", "make d"]
    with pytest.raises(ValueError, match=r"page.md:1: this block is never closed"):
        blocks_of("page.md", "```bash\nls\n")
    with pytest.raises(ValueError, match="does not end"):
        commands_of("echo 'a\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("pip install 'ovss[nothing]'", "has the extras"),
        ("pip install requests", "neither this project nor an address"),
        ("make nothing", "No rule to make target"),
        ("python train_net.py --config-file a.yaml --nothing 1", "a.yaml, which is not there"),
        ("python train_net.py --num-gpus x", "does not take"),
        ("torchrun --nothing train_net.py", "torchrun does not take"),
        ("curl https://x.org", "nothing checks what curl is given"),
        ("pip install 'x", "bash cannot read"),
    ],
)
def test_what_is_not_run_is_checked(command, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_unrun(command)
