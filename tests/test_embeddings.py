"""Text embeddings: batching, de-duplication, averaging and the disk cache change nothing but the time."""

import multiprocessing
import os
import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from largest_tensor import Largest
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file

from ovss import cache
from ovss.cache import cache_folder, cached_tensor, fingerprint, key_of
from ovss.clip import embeddings
from ovss.clip.embeddings import TextEmbedder, embed_rows, encode_sentences, tokenize_sentences
from ovss.clip.tokenizer import Tokenizer

BPE = SimpleTokenizer()
PROMPTS = ("a photo of a {}.", "There is the {} in the scene")
ROWS = [("cat",), ("fire hydrant", "hydrant"), ("a very long name of a thing that takes many tokens to say",), ("cat",)]


def one_by_one(clip, sentence):
    return F.normalize(clip.encode_text([sentence]), dim=-1)[0]


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_batches_equal_one_by_one(small_clip, monkeypatch, budget):
    monkeypatch.setattr(embeddings, "CPU_TOKENS", budget)
    sentences = [prompt.format(word) for word in ("dog", "a much longer phrase", "cat", "dog") for prompt in PROMPTS]
    with torch.no_grad():
        found = encode_sentences(small_clip, tokenize_sentences(small_clip.tokenizer, sentences))
        torch.testing.assert_close(found, torch.stack([one_by_one(small_clip, sentence) for sentence in sentences]))


def test_equal_sentences_are_encoded_once(small_clip, monkeypatch):
    seen = []
    forward = type(small_clip.text).forward
    monkeypatch.setattr(
        type(small_clip.text), "forward", lambda self, tokens: seen.append(len(tokens)) or forward(self, tokens)
    )
    encode_sentences(small_clip, tokenize_sentences(small_clip.tokenizer, ["cat", "dog", "cat", "cat"]))
    assert sum(seen) == 2


def test_tokens_behind_the_end_have_no_effect(small_clip):
    tokens = small_clip.tokenizer(["cat"])
    with torch.no_grad():
        torch.testing.assert_close(small_clip.text(tokens), small_clip.text(tokens[:, :3]))
        beside_a_long_one = small_clip.text(small_clip.tokenizer(["cat", "a b c d e f g h i j k l"]))[:1]
        torch.testing.assert_close(beside_a_long_one, small_clip.text(tokens))


@pytest.mark.parametrize("sentences_at_once", [1, 2, 256])
def test_synonyms_and_prompts(small_clip, monkeypatch, sentences_at_once):
    monkeypatch.setattr(embeddings, "SENTENCES_AT_ONCE", sentences_at_once)
    with torch.no_grad():
        every = embed_rows(small_clip, ROWS, PROMPTS, average=False)
        mean = embed_rows(small_clip, ROWS, PROMPTS, average=True)
        hydrant = [one_by_one(small_clip, PROMPTS[1].format(word)) for word in ROWS[1]]
    assert every.shape == (4, 2, 24)
    assert mean.shape == (4, 1, 24)
    torch.testing.assert_close(every[1, 1], F.normalize(sum(hydrant), dim=-1))
    torch.testing.assert_close(mean[:, 0], F.normalize(every.mean(1), dim=-1))
    torch.testing.assert_close(every[0], every[3])


@torch.no_grad()
def test_memory_does_not_grow_with_the_words(small_clip, monkeypatch):
    """But for the answer, nothing that is made is larger for ten times the words."""
    monkeypatch.setattr(embeddings, "SENTENCES_AT_ONCE", 64)
    monkeypatch.setattr(embeddings, "CPU_TOKENS", 256)
    answered, peaks = [], []
    for count in (32, 320):
        rows = [(f"{first} {second}",) for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnop"][:count]
        with Largest() as largest:
            answered.append(embed_rows(small_clip, rows, PROMPTS, average=True))
        peaks.append(largest.values)
    assert [len(answer) for answer in answered] == [32, 320]
    assert peaks[0] == peaks[1] > answered[1].numel()


def test_gradients_flow(small_clip):
    embed_rows(small_clip, ROWS[:1], PROMPTS, average=True).sum().backward()
    assert small_clip.text.text_projection.grad.abs().sum() > 0
    small_clip.zero_grad(set_to_none=True)


class TestDiskCache:
    @pytest.fixture(autouse=True)
    def own_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("OVSS_CACHE", str(tmp_path / "cache"))

    def files(self):
        return sorted(path for path in cache_folder().rglob("*.safetensors"))

    def test_second_time_nothing_is_encoded(self, small_clip, monkeypatch):
        first = TextEmbedder(small_clip)(ROWS, PROMPTS, True)
        monkeypatch.setattr(embeddings, "embed_rows", lambda *arguments: pytest.fail("encoded again"))
        assert torch.equal(TextEmbedder(small_clip)(ROWS, PROMPTS, True), first)

    @pytest.mark.parametrize("change", ["rows", "order", "prompts", "average", "weights"])
    def test_key_holds_all_it_depends_on(self, small_clip, change):
        rows, prompts, average = list(ROWS), PROMPTS, True
        TextEmbedder(small_clip)(rows, prompts, average)
        if change == "rows":
            rows = rows[:-1]
        elif change == "order":
            rows = rows[::-1]
        elif change == "prompts":
            prompts = prompts[:1]
        elif change == "average":
            average = False
        else:
            with torch.no_grad():
                small_clip.text.ln_final.bias[0] += 1
        try:
            found = TextEmbedder(small_clip)(rows, prompts, average)
            torch.testing.assert_close(found, embed_rows(small_clip, rows, prompts, average).detach())
        finally:
            if change == "weights":
                with torch.no_grad():
                    small_clip.text.ln_final.bias[0] -= 1
        assert len(self.files()) == 2

    @pytest.mark.parametrize("damage", [b"", b"garbage", None])
    def test_damaged_entry_is_computed_again(self, small_clip, damage, caplog):
        expected = TextEmbedder(small_clip)(ROWS, PROMPTS, True)
        (path,) = self.files()
        path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
        assert torch.equal(TextEmbedder(small_clip)(ROWS, PROMPTS, True), expected)
        assert "is damaged" in caplog.text
        assert torch.equal(load_file(path)["tensor"], expected)

    def test_unwritable_folder(self, monkeypatch, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("OVSS_CACHE", str(tmp_path / "file"))
        assert torch.equal(cached_tensor("text", "key", lambda: torch.ones(2)), torch.ones(2))
        assert "cannot be written" in caplog.text

    def test_nothing_half_written_when_computing_fails(self):
        with pytest.raises(RuntimeError, match="lost power"):
            cached_tensor("text", "key", lambda: (_ for _ in ()).throw(RuntimeError("lost power")))
        assert self.files() == []
        assert torch.equal(cached_tensor("text", "key", lambda: torch.ones(1)), torch.ones(1))

    def test_many_processes_compute_once(self, tmp_path):
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            results = pool.starmap(compute_slowly, [(str(tmp_path / "cache"), str(tmp_path / "log"))] * 3)
        assert results == [[1.0, 2.0]] * 3
        assert len((tmp_path / "log").read_text().splitlines()) == 1


def compute_slowly(folder, log):
    os.environ["OVSS_CACHE"] = folder

    def compute():
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return torch.tensor([1.0, 2.0])

    return cached_tensor("text", "key", compute).tolist()


def test_keys_and_fingerprints(small_clip):
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a") == key_of("a")
    module = torch.nn.Linear(2, 2)
    before = fingerprint(module)
    assert fingerprint(module.half()) != before
    assert cache.fingerprint(small_clip.text) == cache.fingerprint(small_clip.text)


def test_fingerprint_counts_every_value_and_name():
    def found(change=lambda state: state):
        module = torch.nn.Module()
        for name, value in change({"a": torch.arange(6.0), "b": torch.arange(6.0) + 1}).items():
            module.register_buffer(name, value)
        return fingerprint(module)

    changes = [
        lambda state: {**state, "a": state["a"].index_fill(0, torch.tensor([5]), 5.5)},
        lambda state: {**state, "a": state["a"].view(2, 3)},
        lambda state: {**state, "a": state["a"].view(torch.int32)},
        lambda state: {"a": state["b"], "b": state["a"]},
        lambda state: {"a": state["a"], "c": state["b"]},
    ]
    assert found() == found()
    assert len({found(), *(found(change) for change in changes)}) == 6


def test_tokenizer_is_open_clips():
    import open_clip

    words = ["a photo of a cat.", "A Crème brûlée!", "x" * 60]
    assert torch.equal(Tokenizer()(words), open_clip.tokenize(words))
    assert Tokenizer()([]).shape == (0, 77)


@given(st.lists(st.text(st.sampled_from("aBc's.t<>-_1 9&;#x\t\x1c\x1bé“") | st.characters(), max_size=15), max_size=3))
@example(["don't stop", "a  b", " a ", "<end_of_text>", "&amp; < &lt;", "a\x1cb", "a &am p;", ""])
def test_words_once_as_open_clip_sentence_by_sentence(sentences):
    tokenizer = Tokenizer()
    for _ in range(2):
        for row, sentence in zip(tokenizer(sentences).tolist(), sentences, strict=True):
            expected = [BPE.sot_token_id, *BPE.encode(sentence), BPE.eot_token_id]
            assert row == expected + [0] * (77 - len(expected))


def test_each_word_is_split_once(monkeypatch):
    tokenizer, split = Tokenizer(), []
    encode = SimpleTokenizer.encode
    monkeypatch.setattr(SimpleTokenizer, "encode", lambda self, word: split.append(word) or encode(self, word))
    tokenizer([f"a photo of a {word}" for word in ("cat", "dog", "cat.")])
    assert split == ["a", "photo", "of", "cat", "dog", "cat."]


def test_tokenizer_refuses_instead_of_cutting():
    with pytest.raises(ValueError, match="has 82 tokens, CLIP reads 77: use a shorter word"):
        Tokenizer()(["cat " * 80])


def test_compact_table():
    full = Tokenizer()(["red star"])[0]
    known = sorted({*full.tolist(), 0})
    tokenizer = Tokenizer(8, known)
    compact = tokenizer(["red star", "red"])
    assert torch.equal(torch.tensor(known)[compact[0]], full[:8])
    assert compact.argmax(dim=-1).tolist() == [3, 2]
    with pytest.raises(ValueError, match=r"does not know \['zebra'\] of 'red zebra'"):
        tokenizer(["red zebra"])
