"""Hypothesis strategies that draw random architectures. Needs `hypothesis`; nothing else imports this module.

Example:
    >>> from hypothesis import given
    >>> from weightspace.testing import strategies
    >>> @given(strategies.feed_forward_spaces())
    ... def test_my_layer(space): ...
"""

from __future__ import annotations

from hypothesis import strategies as st

from ..space import WeightSpace, mlp, siren

__all__ = ["feed_forward_spaces"]


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
