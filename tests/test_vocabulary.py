"""Words: every form that a user may give, and every mistake."""

import json

import pytest

from ovss.templates import prompt_set
from ovss.vocabulary import Vocabulary


def test_comma_list():
    vocabulary = Vocabulary.parse("cat, fire hydrant ,wall")
    assert vocabulary.names == vocabulary.classes == ("cat", "fire hydrant", "wall")


def test_list_and_itself():
    vocabulary = Vocabulary.parse(["cat", "car, auto"])
    assert vocabulary.synonyms == (("cat",), ("car", "auto"))
    assert Vocabulary.parse(vocabulary) is vocabulary
    assert hash(vocabulary) == hash(Vocabulary.parse(["cat", "car, auto"]))


def test_files(tmp_path):
    (tmp_path / "full.json").write_text(
        json.dumps({"classes": ["wall", {"name": "sofa", "synonyms": ["couch"]}], "background": ["sky", "sky", "sea"]})
    )
    (tmp_path / "words.txt").write_text("cat\ncar, auto\n")
    full = Vocabulary.parse(str(tmp_path / "full.json"))
    assert full.classes == ("wall", "sofa", "background")
    assert full.synonyms[1] == ("sofa", "couch")
    assert Vocabulary.parse(str(tmp_path / "words.txt")).synonyms == (("cat",), ("car", "auto"))
    assert Vocabulary.parse(tmp_path / "words.txt").synonyms == (("cat",), ("car", "auto"))


def test_lines_separate_words_as_commas_do():
    """As of "$(cat words.txt)", whichever system wrote the file."""
    assert Vocabulary.parse("cat\r\ndog, red wall\nsky").classes == ("cat", "dog", "red wall", "sky")


@pytest.mark.parametrize(
    ("treatment", "rows", "classes"),
    [
        ("first", [("car",), ("cat",), ("sky",), ("sea",)], [0, 1, 2, 2]),
        ("average", [("car", "auto"), ("cat",), ("sky",), ("sea",)], [0, 1, 2, 2]),
        ("joined", [("car, auto",), ("cat",), ("sky",), ("sea",)], [0, 1, 2, 2]),
        ("each", [("car",), ("auto",), ("cat",), ("sky",), ("sea",)], [0, 0, 1, 2, 2]),
    ],
)
def test_phrases(treatment, rows, classes):
    vocabulary = Vocabulary.from_words(["car, auto", "cat"], background=["sky", "sea"])
    assert vocabulary.phrases(treatment) == (rows, classes)


def test_unknown_treatment():
    with pytest.raises(ValueError, match="unknown treatment of synonyms 'all'; known: first, average, joined, each"):
        Vocabulary.parse("a").phrases("all")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "an empty word"),
        ("cat,,wall", "an empty word"),
        (" , ", "an empty word"),
        ([], "an empty vocabulary"),
        (["cat", "  "], "class 1 of the vocabulary has an empty word"),
        (["car,"], "class 0 of the vocabulary has an empty word"),
        ("cat, dog, cat", "names 'cat' twice, as class 0 and as class 2"),
        ("cat, Cat", "names 'Cat' twice, as class 0 and as class 1"),
        (["cat\ndog"], r"a word of several lines, 'cat\\ndog'"),
        ([3], "a class must be a word, not 3"),
        ("nowhere.json", "class file nowhere.json: cannot be read"),
    ],
)
def test_mistakes(spec, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.parse(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"classes": ["a"], "background": [" "]}', "empty background word"),
        ('["a", "a"]', "names 'a' twice"),
        ('{"classes": ["background"], "background": ["sky"]}', "both class 0 and the name of the merged"),
        ("[]", "an empty vocabulary"),
    ],
)
def test_mistakes_in_files_name_the_file(text, message, tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        Vocabulary.parse(str(path))
    assert str(path) in str(error.value)


def test_prompt_sets():
    assert [len(prompt_set(name)) for name in ("single", "imagenet", "imagenet_select", "vild")] == [1, 80, 8, 14]
    assert prompt_set("imagenet")[0] == "a bad photo of a {}."
    assert prompt_set("imagenet")[-1] == "a tattoo of the {}."
    assert prompt_set("vild")[3] == "There is the {} in the scene"
    assert prompt_set("vild")[-1] == "There is a large {} in the scene."
    assert prompt_set(["the {}!"]) == ("the {}!",)


@pytest.mark.parametrize(
    ("name", "message"),
    [("vlid", "unknown prompt set 'vlid'"), ([], "empty list"), (["a photo"], "0 places"), (["{} {}"], "2 places")],
)
def test_prompt_mistakes(name, message):
    with pytest.raises(ValueError, match=message):
        prompt_set(name)


def test_classes_that_share_a_name_are_told_apart_by_their_synonyms():
    vocabulary = Vocabulary.from_words(["screen, crt screen", "wall", "screen, silver screen"])
    assert vocabulary.classes == ("screen, crt screen", "wall", "screen, silver screen")
    assert vocabulary.phrases("first")[0] == [("screen",), ("wall",), ("screen",)]
    with pytest.raises(ValueError, match="names 'screen, crt screen' twice, as class 0 and as class 1"):
        Vocabulary.from_words(["screen, crt screen", "screen, crt screen"])
