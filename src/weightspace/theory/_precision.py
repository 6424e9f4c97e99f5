"""Modules with random weights that are the same whatever the default precision is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_by_default"]


@contextmanager
def single_by_default() -> Iterator[None]:
    """Modules are made in single precision: a seed gives other weights in another one, even if converted afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
