"""Gradients over processes: the same to the last bit in the first step of a start and in all that follow."""

import torch
from processes import in_processes
from torch import nn

from ovss.d2.api import comm
from ovss.d2.lite.parallel import create_ddp_model


class Backwards(nn.Module):
    """Uses its layers from the last to the first, so that torch sorts their gradients anew after the first step."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(37, 37) for _ in range(5))

    def forward(self, x):
        for layer in reversed(self.layers):
            x = layer(x).sin()
        return x.square().sum()


def test_three_processes_find_the_same_mean_in_every_step():
    torch.manual_seed(0)
    model = Backwards()
    inputs = torch.rand(3, 8, 37)
    found = torch.zeros(3, sum(parameter.numel() for parameter in model.parameters())).share_memory_()
    shares = torch.zeros(3, *found.shape[1:]).share_memory_()

    def work():
        rank = comm.get_rank()
        shares[rank] = torch.cat([g.flatten() for g in torch.autograd.grad(model(inputs[rank]), model.parameters())])
        parallel = create_ddp_model(model)
        for step in range(3):
            model.zero_grad()
            parallel(inputs[rank]).backward()
            if comm.is_main_process():
                found[step] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    in_processes(3, work)
    expected = (shares[0] + shares[1] + shares[2]) / 3
    assert torch.equal(found, expected.expand(3, -1))
