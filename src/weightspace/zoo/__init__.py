"""Model zoos: fit many networks at once, store them, load them, read published ones, read image sets."""

from ._images import fashion_mnist, idx, mnist5k, picture
from ._inrs import coordinates, fit_inrs, render, round_trip
from ._published import load_state_dicts, mnist_inrs
from ._recipe import INR_RECIPES, FitRecipe
from ._zoo import Zoo, load, write_zoo

__all__ = [
    "INR_RECIPES",
    "FitRecipe",
    "Zoo",
    "coordinates",
    "fashion_mnist",
    "fit_inrs",
    "idx",
    "load",
    "load_state_dicts",
    "mnist5k",
    "mnist_inrs",
    "picture",
    "render",
    "round_trip",
    "write_zoo",
]
