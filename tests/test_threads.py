"""The number of torch's threads, where several of Python's share it."""

import threading

import pytest
import torch

from ovss.threads import one_thread


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_within_and_what_was_before_after_an_error():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2


def test_a_thread_that_begins_while_another_is_within():
    """It leaves after the other, and neither it, nor the other, nor one that comes later stays with one thread."""
    found = {}
    entered, left = threading.Event(), threading.Event()

    def second():
        with one_thread():
            entered.set()
            left.wait(60)
            found["within"] = torch.get_num_threads()
        found["after"] = torch.get_num_threads()

    with one_thread():
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(60)
    found["first"] = torch.get_num_threads()
    left.set()
    thread.join()
    third = threading.Thread(target=lambda: found.update(third=torch.get_num_threads()))
    third.start()
    third.join()
    assert found == {"within": 1, "after": 2, "first": 2, "third": 2}
