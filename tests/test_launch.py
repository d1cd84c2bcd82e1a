"""Real runs in several processes on the CPU: one and two machines, torchrun, two runs at once; on either engine."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import launch_jobs
import pytest
import torch

from ovss.d2.api import build_detection_test_loader, comm, default_argument_parser
from ovss.d2.processes import launch
from ovss.d2.processes.launch import launch_main

JOBS = str(Path(launch_jobs.__file__))


def arguments(folder, *words):
    args = default_argument_parser().parse_args(words)
    args.folder = str(folder)
    return args


def job(folder, *words, before=()):
    """A program that runs `launch_jobs.tell`."""
    return subprocess.Popen([sys.executable, *before, JOBS, "tell", str(folder), *words], stderr=subprocess.PIPE)


def finish(*programs):
    for program in programs:
        _, errors = program.communicate(timeout=120)
        assert program.returncode == 0, errors.decode()


def check_told(folder, world):
    """All processes know themselves and each other, in rank order."""
    expected = [{"rank": rank, "world": world, "device": "cpu", "visible": ""} for rank in range(world)]
    assert {path.name for path in folder.iterdir()} == {f"{rank}.json" for rank in range(world)}
    for rank in range(world):
        assert json.loads((folder / f"{rank}.json").read_text()) == expected


def identity(record):
    return record


def share_out(args, device):
    """Three processes take their shares of seven records; the main one gathers them."""
    loader = build_detection_test_loader([{"value": value} for value in range(7)], mapper=identity)
    gathered = comm.gather([record["value"] for batch in loader for record in batch])
    if comm.is_main_process():
        own = [torch.get_num_threads(), multiprocessing.get_start_method()]
        (Path(args.folder) / "gathered.json").write_text(json.dumps([gathered, own]))
    else:
        assert gathered == []


def test_three_processes_share_the_work_and_gather_in_rank_order(tmp_path):
    before = dict(os.environ)
    launch_main(share_out, arguments(tmp_path, "--num-gpus", "3"), "cpu")
    assert json.loads((tmp_path / "gathered.json").read_text()) == [
        [[0, 1, 2], [3, 4], [5, 6]],
        [1, multiprocessing.get_start_method()],  # what starts its loading processes
    ]
    assert dict(os.environ) == before


def test_two_runs_at_once_do_not_meet(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = job(tmp_path / "first", "--num-gpus", "2", "--dist-url", "auto")
    launch_main(launch_jobs.tell, arguments(tmp_path / "second", "--num-gpus", "2"), "cpu")
    finish(first)
    check_told(tmp_path / "first", 2)
    check_told(tmp_path / "second", 2)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_two_machines(tmp_path):
    """The loopback stands for the network; machine 0 is the later one."""
    where = ["--num-gpus", "1", "--num-machines", "2", "--dist-url", f"tcp://127.0.0.1:{free_port()}"]
    other = job(tmp_path, *where, "--machine-rank", "1")
    launch_main(launch_jobs.tell, arguments(tmp_path, *where, "--machine-rank", "0"), "cpu")
    finish(other)
    check_told(tmp_path, 2)


def test_a_port_that_is_taken_is_a_mistake_of_the_user(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"process 0: the processes cannot meet at {url}: "):
            launch_main(launch_jobs.tell, arguments(tmp_path, "--num-gpus", "2", "--dist-url", url), "cpu")


def test_torchrun(tmp_path):
    finish(job(tmp_path, before=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")))
    check_told(tmp_path, 2)


@pytest.mark.parametrize("num_gpus", ["0", "1"])
def test_no_gpu_means_this_process_on_the_cpu_said_once(num_gpus, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    launch_main(launch_jobs.tell, arguments(tmp_path, "--num-gpus", num_gpus), "cuda")
    check_told(tmp_path, 1)
    assert [record.message for record in caplog.records if "running on the CPU" in record.message] == [
        f"--num-gpus {num_gpus} on 0 GPUs: running on the CPU"
    ]


def test_a_meeting_point_is_one_run_s_own_unless_it_is_given():
    with launch._meeting_point("") as first, launch._meeting_point("") as second:
        assert first != second
        assert {first[:7], second[:7]} == {"file://"}
        assert os.path.isdir(os.path.dirname(first[7:]))
    assert not os.path.exists(os.path.dirname(first[7:]))
    with launch._meeting_point("tcp://127.0.0.1:4567") as place:
        assert place == "tcp://127.0.0.1:4567"
