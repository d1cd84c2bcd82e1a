"""Class files: every form and every mistake."""

import json

import pytest

from ovss.class_file import MAX_FILE_BYTES, read_class_file


def names(file):
    return [phrasings[0] for phrasings in file.synonyms]


@pytest.fixture
def write(tmp_path):
    def write(content, name="classes.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_short_forms(write):
    assert read_class_file(write(["bed ", "car, auto"])).synonyms == (("bed",), ("car", "auto"))
    path = write("# mine\ncat\n\ncrème brûlée  # dessert\n", "words.txt")
    assert names(read_class_file(path)) == ["cat", "crème brûlée"]


@pytest.mark.parametrize(("name", "content"), [("words.txt", b"cat\r\ncup\r\n"), ("words.json", b'["cat", "cup"]')])
def test_files_of_windows(tmp_path, name, content):
    """A byte order mark is no part of the first word."""
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert names(read_class_file(tmp_path / name)) == ["cat", "cup"]


def test_long_form(write):
    classes = [{"name": "sofa", "synonyms": ["couch"], "id": 7, "color": [1, 2, 3]}, {"name": "wall", "id": 3}]
    variant = {"reason": "shorter", "names": {"sofa": "seat"}, "background": ["sea"]}
    path = write({"source": "me", "classes": classes, "background": ["sky "], "variants": {"theirs": variant}})
    file = read_class_file(path)
    assert (file.synonyms, file.background) == ((("sofa", "couch"), ("wall",)), ("sky",))
    assert (file.ids, file.colors) == ((7, 3), ((1, 2, 3), None))
    theirs = read_class_file(path, "theirs")
    assert (theirs.synonyms, theirs.background) == ((("seat", "couch"), ("wall",)), ("sea",))
    assert theirs.ids == file.ids
    assert read_class_file(path, "nobody's") == file


def test_based_on(write):
    variants = {"theirs": {"names": {"b": "bee", "c": "sea"}}}
    write(
        {"classes": [{"name": "a", "id": 4}, {"name": "b", "id": 5}, {"name": "c", "id": 6}], "variants": variants},
        "x.json",
    )
    file = read_class_file(write({"based_on": "x", "background": ["sky"]}))
    assert (names(file), file.background, file.ids) == (["a", "b", "c"], ("sky",), (4, 5, 6))
    path = write({"based_on": "x", "background_from": 2, "background": ["sky"]})
    assert (read_class_file(path).background, read_class_file(path).ids) == (("sky", "c"), (4, 5))
    assert (names(read_class_file(path, "theirs")), read_class_file(path, "theirs").background) == (
        ["a", "bee"],
        ("sky", "sea"),
    )


MISTAKES = [
    ("{", "Expecting property name"),
    ("[" * 100_000, "nested too deep"),
    ('"cat"', 'expected a list of names, or an object with a list "classes" or else with "based_on"'),
    ({"classes": ["a"], "based_on": "x"}, 'or else with "based_on"'),
    ({"classes": ["a"], "colours": 1}, r"unknown keys \['colours'\] in the file"),
    ({"classes": ["a"], "background": "sky"}, '"background" must be of type list'),
    ({"classes": ["a"], "background": [1]}, '"background" must hold words'),
    ({"classes": ["a"], "background_from": True}, '"background_from" must be of type int'),
    ({"classes": ["a"], "background_from": 2}, '"background_from" 2 is outside 0 to 1'),
    ({"classes": ["a"], "variants": {"x": {"classes": []}}}, r"unknown keys \['classes'\] in variant 'x'"),
    ({"classes": ["a"], "variants": {"x": []}}, "variant 'x' must be an object"),
    ({"classes": [{"name": "a", "synonyms": "b"}]}, "a class must be a word or an object"),
    ({"classes": [{"name": "a", "id": -1}]}, "a class must be a word or an object"),
    ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, "a class must be a word or an object"),
    ({"classes": [{"name": "a", "id": 1}, "b"]}, "2 classes have 1 different ids"),
    ({"classes": [{"name": "a", "id": 1}, {"name": "b", "id": 1}]}, "2 classes have 1 different ids"),
    ({"based_on": "../x"}, r"'../x': give the name of a file beside this one"),
    ({"based_on": "classes"}, "'classes' is itself based on 'classes'"),
    ({"based_on": "nowhere"}, r"'nowhere': there is no .*nowhere\.json"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), MISTAKES)
def test_mistakes_name_the_file(content, message, write):
    path = write(content)
    with pytest.raises(ValueError, match=message) as error:
        read_class_file(path)
    assert str(path) in str(error.value)


def test_a_variant_renames_what_is_there(write):
    path = write({"classes": ["a"], "variants": {"x": {"names": {"b": "c"}}}})
    with pytest.raises(ValueError, match="'b' is no class of the file"):
        read_class_file(path, "x")


def test_file_limits(tmp_path, write):
    path = tmp_path / "huge.json"
    with open(path, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match="more than the 16777216"):
        read_class_file(path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="utf-8"):
        read_class_file(tmp_path / "binary.txt")
