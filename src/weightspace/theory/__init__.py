"""Theorems about weight-space networks as code that runs: networks that no metanetwork tells apart, and a census."""

from ._census import Census, binary_orbits, census
from ._pairs import gram_norm, wl_pair

__all__ = ["Census", "binary_orbits", "census", "gram_norm", "wl_pair"]
