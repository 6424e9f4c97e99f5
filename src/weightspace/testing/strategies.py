"""Hypothesis strategies that draw random architectures. Needs `hypothesis`; nothing else imports this module.

Example:
    >>> from hypothesis import given
    >>> from weightspace.testing import strategies
    >>> @given(strategies.feed_forward_spaces())
    ... def test_my_layer(space): ...
"""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from ..space import WeightSpace, mlp, siren
from ._networks import BUILDERS

__all__ = ["feed_forward_spaces", "modules"]


def feed_forward_spaces(
    *, min_layers: int = 2, max_layers: int = 6, max_width: int = 40, activations: tuple[str, ...] | None = None
) -> st.SearchStrategy[WeightSpace]:
    """Weight spaces of multilayer perceptrons and SIRENs.

    Args:
        min_layers: fewest weight layers.
        max_layers: most weight layers.
        max_width: largest width; the smallest is 1.
        activations: names to draw from; all by default.
    """
    widths = st.lists(st.integers(1, max_width), min_size=min_layers + 1, max_size=max_layers + 1)
    names = st.sampled_from(activations or ("relu", "tanh", "sine", "gelu", "silu", "identity"))
    return st.builds(lambda dims, name: siren(dims) if name == "sine" else mlp(dims, activation=name), widths, names)


@st.composite
def modules(
    draw: st.DrawFn, *, kinds: tuple[str, ...] = ("vectors", "images", "sequences"), max_blocks: int = 4
) -> tuple[nn.Module, Tensor]:
    """Random networks with random weights, each with an example input: what `weightspace.from_module` takes.

    Perceptrons, convolutional networks and transformers: layers, norms, activations, dropout and pooling, in residual,
    concatenated, gated and shared blocks, with depthwise and grouped convolutions, attention whose queries, keys and
    values are separate or packed in one of three orders, and recurrent layers.

    Args:
        draw: given by hypothesis.
        kinds: of inputs: "vectors" ``[N, d]``, "images" ``[N, c, h, w]``, "sequences" ``[N, t, d]`` or ``[N, t]``.
        max_blocks: most blocks between stem and head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**16)))
        return BUILDERS[draw(st.sampled_from(kinds))](draw).network(draw(st.integers(0, max_blocks)))
