"""SIGTERM: training stops in all processes after the same step and goes on as if it never had; evaluation at once."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import torch
from small_training import CONFIG, ROOT, SMALL, as_opts, write_squares

from ovss import hub
from ovss.d2 import sem_seg_evaluator
from ovss.d2.api import HookBase, comm, default_argument_parser
from ovss.d2.processes.launch import launch_main
from ovss.d2.processes.stop import Stopped, sigterm_noted, sigterm_stops, stop_if_raised, stop_requested
from ovss.d2.segmentor import Segmentor
from ovss.d2.training.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("restored_loggers")]
RUN = {**SMALL, "SOLVER.MAX_ITER": 5, "DATASETS.TEST": ()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "data")


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_noted_or_stops():
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_noted():
        assert not stop_requested()
        with sigterm_stops(), pytest.raises(Stopped) as stopped:
            terminate()
        assert stopped.value.code == 143
        terminate()
        assert stop_requested()
        with pytest.raises(Stopped), sigterm_stops():
            pytest.fail("went on although SIGTERM had come")
    assert signal.getsignal(signal.SIGTERM) == before
    with sigterm_noted():
        assert not stop_requested()


def test_a_stop_that_python_dropped_is_raised_again():
    """As where SIGTERM comes while a loading process is forked."""
    with sigterm_stops():
        stop_if_raised()
        with suppress(Stopped):
            terminate()
        with pytest.raises(Stopped):
            stop_if_raised()
    stop_if_raised()


DROPPED = """
import os, signal
from ovss.d2.processes.stop import Stopped, sigterm_stops, stop_if_raised

class Ends:
    def __init__(self, action):
        self.action = action
    def __del__(self):
        self.action()

with sigterm_stops():
    Ends(lambda: 1 / 0)
    Ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    stop_if_raised()
"""


def test_a_dropped_stop_is_not_told_as_an_error_and_others_are():
    done = subprocess.run([sys.executable, "-c", DROPPED], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.returncode == 143
    assert done.stderr.count("Exception ignored in") == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Stopped" not in done.stderr


class Terminate(HookBase):
    """Sends SIGTERM to this process before a step."""

    def __init__(self, step):
        self.step = step

    def before_step(self):
        if self.trainer.iter == self.step:
            terminate()


def train(folder, opts, resume=False, terminated_at=None):
    torch.manual_seed(3)
    trainer = Trainer(hub.load(CONFIG, [*opts, "OUTPUT_DIR", str(folder)]))
    trainer.resume_or_load(resume)
    trainer.register_hooks([None if terminated_at is None else Terminate(terminated_at)])
    trainer.train()
    return trainer


def final(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)


def assert_same(folder, other):
    """The same weights and moments of the optimizer, bit for bit."""
    ours, theirs = final(folder), final(other)
    assert all(torch.equal(value, theirs["model"][key]) for key, value in ours["model"].items())
    ours, theirs = (content["trainer"]["_trainer"]["optimizer"]["state"] for content in (ours, theirs))
    assert all(torch.equal(value, theirs[index][key]) for index, state in ours.items() for key, value in state.items())


@pytest.mark.parametrize("amp", [{}, {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": "float16"}])
def test_one_process_stops_and_goes_on(data, tmp_path, amp, caplog):
    opts = as_opts(RUN, data, amp)
    train(tmp_path / "whole", opts)
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", opts, terminated_at=2)
    assert (tmp_path / "stopped/last_checkpoint").read_text() == "model_0000002.pth"
    assert "SIGTERM has stopped training after iteration 2: go on with --resume" in caplog.text
    assert train(tmp_path / "stopped", opts, resume=True).start_iter == 3
    assert_same(tmp_path / "stopped", tmp_path / "whole")
    scalers = [final(tmp_path / name)["trainer"]["_trainer"].get("grad_scaler") for name in ("stopped", "whole")]
    assert scalers[0] == scalers[1]
    assert (scalers[0] is not None) == bool(amp)


def test_an_evaluation_stops_at_once_and_its_run_goes_on(data, tmp_path, monkeypatch):
    """In the second of six pictures; what was counted is written, and a checkpoint of the step before."""
    settings = {"DATASETS.TEST": ("folder",), "TEST.EVAL_PERIOD": 2}
    segment, answered = Segmentor.segment, []

    def answer(model, images):
        answered.append(len(images))
        if len(answered) == 2:
            terminate()
        return segment(model, images)

    monkeypatch.setattr(Segmentor, "segment", answer)
    with pytest.raises(Stopped):
        train(tmp_path, as_opts(RUN, data, settings))
    assert len(answered) == 2
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert [*(tmp_path / "inference/unfinished").rglob("folder.json")]


def test_sigterm_while_an_evaluation_keeps_what_it_has_counted(data, tmp_path, monkeypatch):
    """It follows the failure of another process, which may have been noticed here already: the error is told."""
    segment, write, answered, written = Segmentor.segment, sem_seg_evaluator.write_results, [], []

    def answer(model, images):
        answered.append(len(images))
        if len(answered) == 2:
            raise RuntimeError("another process has left")
        return segment(model, images)

    def write_late(*arguments):
        written.append(arguments)
        if len(written) == 1:
            terminate()
        return write(*arguments)

    monkeypatch.setattr(Segmentor, "segment", answer)
    monkeypatch.setattr(sem_seg_evaluator, "write_results", write_late)
    cfg = hub.load(CONFIG, [*as_opts(RUN, data, {"DATASETS.TEST": ("folder",)}), "OUTPUT_DIR", str(tmp_path)])
    with pytest.raises(RuntimeError, match="another process has left"):
        Trainer.test(cfg, Trainer.build_model(cfg))
    assert [*(tmp_path / "inference/unfinished").rglob("folder_pictures.csv")]


def shared(args, device):
    """Top of a module: child processes must find it. SIGTERM reaches the second process alone."""
    if not args.resume:
        train(args.folder / "whole", args.opts)
    train(args.folder / "stopped", args.opts, args.resume, 2 if comm.get_rank() and not args.resume else None)


def test_two_processes_stop_together_and_go_on(data, tmp_path):
    args = default_argument_parser().parse_args(["--num-gpus", "2"])
    args.folder, args.opts = tmp_path, as_opts(RUN, data)
    with pytest.raises(SystemExit) as stopped:
        launch_main(shared, args, "cpu")
    assert stopped.value.code == 143
    assert (tmp_path / "stopped/last_checkpoint").read_text() == "model_0000002.pth"
    args.resume = True
    launch_main(shared, args, "cpu")
    assert_same(tmp_path / "stopped", tmp_path / "whole")


def test_sigterm_to_a_whole_job_its_loading_processes_included(data, tmp_path):
    """As SLURM sends it."""
    settings = {"SOLVER.MAX_ITER": 100000, "SOLVER.CHECKPOINT_PERIOD": 3, "DATALOADER.NUM_WORKERS": 2}
    opts = as_opts(RUN, data, settings, {"OUTPUT_DIR": str(tmp_path)})
    command = [sys.executable, "train_net.py", "--config-file", CONFIG, *opts]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    waited = time.monotonic()
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < waited + 120:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert "go on with --resume" in printed
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
