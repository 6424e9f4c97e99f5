"""Model zoos: fit many networks at once, store them, load them; checkpoints of others; image sets."""

from ._checkpoints import Checkpoints, read_checkpoints
from ._image_sets import cifar10, image_set
from ._images import ImageSet, fashion_mnist, idx, mnist5k, picture
from ._inrs import coordinates, fit_inrs, render, round_trip
from ._recipe import INR_RECIPES, FitRecipe
from ._state_files import load_state_dicts
from ._text_sets import text_set
from ._traced import traced
from ._write_checkpoints import write_checkpoints
from ._zoo import Zoo, load, write_zoo
from .networks import SmallCNN, SmallTextTransformer, SmallViT, make_zoo
from .published import PUBLISHED, read_published

__all__ = [
    "INR_RECIPES",
    "PUBLISHED",
    "Checkpoints",
    "FitRecipe",
    "ImageSet",
    "SmallCNN",
    "SmallTextTransformer",
    "SmallViT",
    "Zoo",
    "cifar10",
    "coordinates",
    "fashion_mnist",
    "fit_inrs",
    "idx",
    "image_set",
    "load",
    "load_state_dicts",
    "make_zoo",
    "mnist5k",
    "picture",
    "read_checkpoints",
    "read_published",
    "render",
    "round_trip",
    "text_set",
    "traced",
    "write_checkpoints",
    "write_zoo",
]
