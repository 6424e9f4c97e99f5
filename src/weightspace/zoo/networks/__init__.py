"""Zoos of classifiers: many small networks trained at once."""

from ._cnn import SmallCNN
from ._make import make_zoo
from ._vit import SmallViT

__all__ = ["SmallCNN", "SmallViT", "make_zoo"]
