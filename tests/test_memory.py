"""The memory of a process, in one whose memory is known; a GPU's where there is one."""

import subprocess
import sys

import pytest
import torch

from ovss.d2.watch.memory import peak_memory

GROWS = """
import torch
from ovss.d2.watch.memory import peak_memory
before = peak_memory(torch.device("cpu"))
numbers = torch.ones(75 * 2**20)
print(peak_memory(torch.device("cpu")) - before)
del numbers
print(peak_memory(torch.device("cpu")) - before)
"""


def test_the_peak_of_a_process_is_in_mib():
    done = subprocess.run([sys.executable, "-c", GROWS], capture_output=True, text=True, check=True)
    grown, later = map(float, done.stdout.split())
    assert grown == pytest.approx(300, abs=40)
    assert later == pytest.approx(grown, abs=2)  # what was given back counts


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_counts_its_tensors():
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_memory(device)
    numbers = torch.ones(25 * 2**20, device=device)
    assert peak_memory(device) - before == pytest.approx(numbers.nbytes / 2**20, abs=2)
