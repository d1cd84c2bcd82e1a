"""What benchmarks count, on work whose operations and bytes are known by hand; and tables read off what they print."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.counting import count_flops, least_bytes
from benchmarks.roofline import Rates
from benchmarks.run import tables

X, Q, K = torch.rand(4, 10, 8), torch.rand(2, 3, 6, 8), torch.rand(2, 3, 7, 8)
MAPS = torch.rand(2, 3, 8, 8)
CASES = {
    # 40 rows, each 8 x 16 multiplications and additions.
    "linear": (lambda: F.linear(X, torch.rand(16, 8), torch.rand(16)), 2 * 40 * 8 * 16),
    "batched product": (lambda: X @ X.transpose(1, 2), 2 * 4 * 10 * 8 * 10),
    "convolution": (lambda: F.conv2d(MAPS, torch.rand(5, 3, 3, 3), padding=1), 2 * 2 * 64 * 5 * 27),
    "transposed convolution": (lambda: F.conv_transpose2d(MAPS, torch.rand(3, 5, 2, 2), stride=2), 2 * 2 * 64 * 3 * 20),
    # 6 heads in all; 6 queries and 7 keys of width 8, and as much again for the values.
    "attention": (lambda: F.scaled_dot_product_attention(Q, K, K), 2 * (2 * 6 * 6 * 7 * 8)),
    "masked attention": (lambda: F.scaled_dot_product_attention(Q, K, K, attn_mask=torch.zeros(6, 7)), 8064),
    "element by element": (lambda: X.relu() + X, 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("grad", [False, True])
def test_operations(name, grad):
    call, expected = CASES[name]
    with torch.set_grad_enabled(grad):
        assert count_flops(call) == expected


def test_operations_of_a_backward_pass():
    weight, x = torch.rand(16, 8, requires_grad=True), torch.rand(5, 8, requires_grad=True)
    once = 2 * 5 * 8 * 16
    assert count_flops(lambda: F.linear(x, weight).sum().backward()) == 3 * once, "gradients of input and of weight"


def test_operations_of_the_backward_pass_of_attention():
    q, k = Q.clone().requires_grad_(), K.clone().requires_grad_()
    product = 2 * 6 * 6 * 7 * 8
    # Two products forward; backward the first again, and two for each one's gradients.
    assert count_flops(lambda: F.scaled_dot_product_attention(q, k, k).sum().backward()) == 7 * product


def test_bytes_are_counted_once():
    layer = torch.nn.Linear(8, 16)
    tensors = 4 * (16 * 8 + 16)
    assert least_bytes(layer) == tensors
    assert least_bytes(layer, layer, [layer.weight], {"x": X}) == tensors + 4 * X.numel()
    assert least_bytes(torch.rand(1, 8).expand(100, 8)) == 32, "an expanded dimension takes no memory"
    assert least_bytes(torch.rand(10).bfloat16()) == 20


def test_roofline_is_what_takes_longer():
    rates = Rates("float32", matrix=100.0, convolution=200.0, copy=10.0)
    assert rates.seconds(400, 10) == 2, "operations, at the higher of both rates"
    assert rates.seconds(400, 50) == 5, "bytes"
    assert rates.better(Rates("float32", matrix=150.0, convolution=90.0, copy=20.0)) == Rates("float32", 150, 200, 20)


def test_tables_of_a_text():
    text = "words\n\n| a | b |\n|---|---:|\n| 1 | x y |\n| 2 | - |\n\n| c |\n|---|\n| 3 |\nend\n"
    assert tables(text) == [[{"a": "1", "b": "x y"}, {"a": "2", "b": "-"}], [{"c": "3"}]]
