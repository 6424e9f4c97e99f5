"""Zoos of classifiers: many small networks trained at once."""

from ._cnn import SmallCNN
from ._make import make_zoo
from ._recipe import network
from ._transformer import SmallTextTransformer, SmallViT

__all__ = ["SmallCNN", "SmallTextTransformer", "SmallViT", "make_zoo", "network"]
