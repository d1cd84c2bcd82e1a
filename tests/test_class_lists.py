"""The project's class files and lists of pictures against the published ones."""

import ast
import json
from pathlib import Path

import pytest
from open_clip.tokenizer import SimpleTokenizer

from ovss.class_file import read_class_file
from ovss.datasets.table import BENCHMARKS, CLASSES, SPLITS
from ovss.vocabulary import Vocabulary

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT.parent / "shared/samples/class_texts"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published class lists in ../shared/samples")
# Class file -> classes, background words; the same under CLIPtrase's variant.
SIZES = {
    "coco_stuff": (171, 0, 0), "coco_object": (80, 91, 107), "ade20k_150": (150, 0, 0), "ade20k_847": (847, 0, 0),
    "pascal_context_59": (59, 0, 0), "pascal_context_60": (59, 1, 1), "pascal_context_459": (459, 0, 0),
    "voc_20": (20, 0, 0), "voc_20b": (20, 39, 39), "voc_21": (20, 33, 33),
}  # fmt: skip


def own(name, system=""):
    return read_class_file(CLASSES / f"{name}.json", system)


def names(file):
    return [phrasings[0] for phrasings in file.synonyms]


def test_files_are_whole():
    assert {path.stem for path in CLASSES.glob("*.json")} == set(SIZES) == {row.classes for row in BENCHMARKS}
    assert CLASSES.samefile(ROOT / "datasets/classes")
    for name, (classes, words, theirs) in SIZES.items():
        file = own(name)
        assert (len(file.synonyms), len(file.background), len(file.ids)) == (classes, words, classes)
        assert len(own(name, "cliptrase").background) == theirs
        assert len(set(file.synonyms)) == classes
        assert len(set(file.background)) == words
        assert Vocabulary.from_file(CLASSES / f"{name}.json").synonyms == file.synonyms
        assert sum(color is not None for color in file.colors) in (0, classes, 80)


def test_ids():
    coco = own("coco_stuff")
    assert set(range(182)) - set(coco.ids) == {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    assert (coco.ids == tuple(sorted(coco.ids)), coco.ids[79:82]) == (True, (89, 91, 92))
    assert own("coco_object").ids == coco.ids[:80]
    assert own("coco_object").background == tuple(names(coco)[80:])
    assert own("voc_20").ids == own("voc_20b").ids == own("voc_21").ids == tuple(range(1, 21))
    assert own("ade20k_150").ids == tuple(range(1, 151))
    full = own("ade20k_847").ids
    assert (full[:3], len(set(full)), min(full), max(full)) == ((2978, 312, 2420), 847, 6, 3156)
    context = own("pascal_context_459")
    assert context.ids == tuple(range(1, 460))
    assert names(context)[430] == "unknown"
    part = own("pascal_context_59")
    words = {name: context.ids[index] for index, name in enumerate(names(context))}
    assert part.ids == tuple(words["table" if name == "diningtable" else name] for name in names(part))
    assert own("pascal_context_60").ids == part.ids == tuple(sorted(part.ids))


def test_colors():
    assert own("voc_20").colors[14] == (192, 128, 128)
    assert own("coco_stuff").colors[0] == (220, 20, 60)
    assert own("ade20k_847").colors[0] == (197, 196, 23)


@needs_published
@pytest.mark.parametrize(
    ("name", "list_name"),
    [("coco_stuff", "coco"), ("ade20k_150", "ade150"), ("ade20k_847", "ade847"), ("pascal_context_59", "pc59"),
     ("pascal_context_459", "pc459"), ("voc_20", "voc20"), ("voc_20b", "voc20b")],
)  # fmt: skip
def test_names_are_cat_segs(name, list_name):
    published = json.loads((PUBLISHED / f"{list_name}.json").read_text())
    file = own(name)
    joined = [", ".join(phrasings) for phrasings in file.synonyms] + list(file.background)
    different = {old: new for old, new in zip(published, joined, strict=True) if old != new}
    cpu = "central processing unit, cpu, c p u{}, central processor, processor, mainframe"
    assert different == {"ade20k_150": {"bed ": "bed"}, "ade20k_847": {cpu.format(" "): cpu.format("")}}.get(name, {})
    encode = SimpleTokenizer().encode
    for old, new in different.items():
        assert encode(f"a photo of a {old}.") == encode(f"a photo of a {new}."), "a blank changes no token"


@needs_published
def test_variants_are_cliptrases():
    text = (PUBLISHED / "DIFF.md").read_text()
    context = text.split("== pc459 json vs TRASE cfg")[1].split("== pc459 json vs catseg")[0].splitlines()[1:]
    rows = [[part.strip().strip("'") for part in line.strip().split(" ", 1)[1].split(" | ")] for line in context]
    default, theirs = names(own("pascal_context_459")), names(own("pascal_context_459", "cliptrase"))
    assert len(rows) == 94
    assert [[a, b] for a, b in zip(default, theirs, strict=True) if a != b] == rows
    assert names(own("voc_20", "cliptrase")) == [*names(own("voc_20"))[:19], "tv"]
    words = ast.literal_eval(text.split("voc21 bg 33 ")[1].splitlines()[0])
    assert list(own("voc_21", "cliptrase").background) == words
    assert sorted({*words, "beach", "hill"} - {"beachhill"}) == sorted(own("voc_21").background)
    words = ast.literal_eval(next(line for line in text.splitlines() if line.startswith("{'COCO80_val'")))
    assert list(own("coco_object", "cliptrase").background) == words["COCO80_val"]
    assert list(own("pascal_context_60", "cliptrase").background) == words["PC60"]


def test_split_lists():
    context, voc = [(SPLITS / f"{name}_val.txt").read_text().split() for name in ("pascal_context", "voc_2012")]
    assert (len(set(context)), len(context), len(set(voc)), len(voc)) == (5104, 5104, 1449, 1449)
    assert (context[0], context[-1], voc[0], voc[-1]) == ("2008_000002", "2010_006086", "2007_000033", "2011_003271")


@needs_published
@pytest.mark.parametrize(
    ("name", "published"),
    [("pascal_context_val", "class_texts/pascalcontext_val.txt"), ("voc_2012_val", "splits/voc2012_val.txt")],
)
def test_split_lists_are_the_published(name, published):
    assert (SPLITS / f"{name}.txt").read_text().split() == (PUBLISHED.parent / published).read_text().split()
