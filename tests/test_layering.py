"""The rules of docs/architecture.md, read off the syntax tree of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("ovss", "cat_seg", "cliptrase", "demo", "benchmarks", "datasets")
MODULES = [*sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")), ROOT / "train_net.py"]
SYSTEMS = {"cat_seg", "cliptrase"}
PLAIN = ("inference", "sliding_window", "labels", "pruning", "metrics")


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_there_are_modules_to_check():
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path):
    name = path.relative_to(ROOT).as_posix()
    imported = imports(path)
    if name not in ("ovss/d2/api.py", "benchmarks/evaluation.py", "benchmarks/loader.py"):  # these two measure both
        assert "detectron2" not in top(imported), "only the seam imports Detectron2"
    if name.startswith("ovss/") and name != "ovss/hub.py":
        assert not top(imported) & SYSTEMS, "the shared package knows no system"
    if name.startswith("ovss/d2/lite/"):
        assert not {i for i in imported if i.startswith("ovss.") and not i.startswith("ovss.d2.lite")}
    if name.startswith(("ovss/d2/processes/", "ovss/d2/watch/")):
        assert not {i for i in imported if i.startswith("ovss.d2.training")}, "training uses these, not they it"
    if name.startswith("ovss/report/"):
        assert not {i for i in imported if i.startswith(("ovss.d2", "torch"))}, "a report is made from numbers alone"
    if name.startswith(("ovss/datasets/", "ovss/download/", "ovss/weights/")):
        assert not {i for i in imported if i.startswith(("ovss.d2", "torch"))}, "known without an engine"
    if name in ("ovss/class_file.py", "ovss/vocabulary.py", "ovss/datasets/table.py"):
        assert top(imported) <= {*sys.stdlib_module_names, "ovss"}, "words and tables need no other package"
    math_room = name.startswith("ovss/clip/") or (
        name.startswith(("cat_seg/", "cliptrase/")) and name.split("/")[1] not in ("config.py", "d2.py", "__init__.py")
    )
    if math_room or name in (
        "ovss/inference.py",
        "ovss/sliding_window.py",
        "ovss/labels.py",
        "ovss/pruning.py",
        "ovss/metrics.py",
    ):
        assert not {i for i in imported if i.startswith(("ovss.d2", "fvcore", "yacs"))}, "math is plain torch"


def test_hub_names_systems_only_inside_functions():
    tree = ast.parse((ROOT / "ovss/hub.py").read_text(encoding="utf-8"))
    outside = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any(SYSTEMS & top({getattr(node, "module", None) or node.names[0].name}) for node in outside)


@pytest.mark.parametrize(
    "statement", ["import ovss", "from ovss.cli import build_parser; build_parser().format_help()"]
)
def test_import_and_help_load_nothing_heavy(statement):
    heavy = "{'torch', 'open_clip', 'cv2', 'numpy', 'PIL', 'matplotlib'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
