import math

import pytest
import torch

from weightspace.nn import SetAttention


@pytest.mark.parametrize("neurons", [1, 7, 130])
def test_agrees_with_a_slow_twin(neurons):
    """Neuron by neuron and head by head, for few neurons and for many, which go different ways."""
    torch.manual_seed(0)
    layer = SetAttention(5, 12, heads=3).double()
    x = torch.randn(2, neurons, 5, dtype=torch.float64)
    with torch.no_grad():
        query, key, value = layer.project(x).chunk(3, dim=-1)
        expected = query.clone()
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            for i in range(neurons):
                scores = (query[:, i, None, part] * key[..., part]).sum(-1) / math.sqrt(12)
                expected[:, i, part] += (scores.softmax(1)[..., None] * value[..., part]).sum(1)
        expected = expected + layer.update(expected).relu()
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
        order = torch.randperm(neurons)
        torch.testing.assert_close(layer(x[:, order]), expected[:, order], rtol=1e-12, atol=1e-12)
