"""Ranks and meeting places as tables; every contradiction is an error that holds both values."""

import pytest

from ovss.d2.api import default_argument_parser
from ovss.d2.processes.placement import Place, check_machines, from_torchrun, on_this_machine


def arguments(*words):
    return default_argument_parser().parse_args(words)


def torchrun(rank=3, world_size=4, local_rank=1, local_size=2):
    """The environment of one of torchrun's processes."""
    numbers = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_size}
    return {**{name: str(value) for name, value in numbers.items()}, "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


def test_machines_count_their_processes_one_after_the_other():
    args = arguments("--num-machines", "2", "--machine-rank", "1")
    assert on_this_machine(args, 3, "tcp://node0:1") == [
        Place(rank=3 + local, world_size=6, local_rank=local, local_size=3, url="tcp://node0:1") for local in range(3)
    ]


@pytest.mark.parametrize("words", [[], ["--num-gpus", "2"], ["--num-gpus", "2", "--num-machines", "2"]])
def test_torchrun_says_who_this_is(words):
    assert from_torchrun(torchrun(), arguments(*words)) == Place(3, 4, 1, 2, "env://")


@pytest.mark.parametrize("environ", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "0"}])
def test_without_torchrun_there_is_no_place(environ):
    assert from_torchrun(environ, arguments("--num-gpus", "4")) is None


@pytest.mark.parametrize(
    ("environ", "words", "message"),
    [
        (torchrun(), ["--num-gpus", "3"], "--num-gpus 3, but torchrun has started 2"),
        (torchrun(), ["--num-gpus", "0"], "--num-gpus 0, but torchrun has started 2"),
        (torchrun(), ["--num-machines", "4"], "--num-machines 4, but torchrun has started 2"),
        ({"RANK": "0", "WORLD_SIZE": "8"}, [], "RANK 0 and WORLD_SIZE 8.*not LOCAL_RANK, LOCAL_WORLD_SIZE"),
    ],
)
def test_torchrun_is_not_contradicted(environ, words, message):
    with pytest.raises(ValueError, match=message):
        from_torchrun(environ, arguments(*words))


@pytest.mark.parametrize(
    ("words", "url", "message"),
    [
        (["--num-machines", "2"], "", "--num-machines 2 needs --dist-url tcp://HOST:PORT"),
        (["--num-machines", "2", "--machine-rank", "2"], "tcp://a:1", "--machine-rank 2.*--num-machines 2.*0 to 1"),
        (["--num-machines", "2", "--machine-rank", "-1"], "tcp://a:1", "--machine-rank -1"),
        (["--machine-rank", "1"], "", "--machine-rank 1, but --num-machines 1"),
        (["--num-machines", "0"], "", "--num-machines 0: give at least 1"),
        ([], "node0:29500", "--dist-url node0:29500: give tcp://HOST:PORT"),
    ],
)
def test_machines_that_cannot_meet(words, url, message):
    with pytest.raises(ValueError, match=message):
        check_machines(arguments(*words), url)


def test_machines_that_can_meet():
    check_machines(arguments(), "")
    check_machines(arguments("--num-machines", "2", "--machine-rank", "1"), "tcp://node0:29500")
