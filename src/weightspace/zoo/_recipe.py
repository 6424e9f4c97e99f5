"""How the networks of a zoo were fitted: named, so that two zoos can be compared."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from .._errors import ZooError

__all__ = ["INR_RECIPES", "FitRecipe", "fit_recipe"]


@dataclass(frozen=True)
class FitRecipe:
    """One way of fitting INRs: Adam on the mean squared error over the whole pixel grid, images in [0, 1].

    Attributes:
        name: the name under which zoos made with it are known.
        steps: Adam steps of each network.
        learning_rate: at the first step.
        betas: decay rates of Adam's two moments.
        eps: added to Adam's denominator.
        schedule: "constant", or "cosine" from the learning rate to 0.
        stop_psnr: a network is left as it is at the first step at which it reaches this peak signal-to-noise ratio,
            in dB; None for never.

    Raises:
        ZooError: for settings out of range or of another type.
    """

    name: str
    steps: int = 1500
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Literal["constant", "cosine"] = "constant"
    stop_psnr: float | None = 40.0

    def __post_init__(self) -> None:
        betas: Any = self.betas
        if isinstance(betas, list):  # as JSON has it
            betas = tuple(betas)
            object.__setattr__(self, "betas", betas)
        allowed = {
            "steps": type(self.steps) is int and self.steps >= 1,
            "learning_rate": _is_number(self.learning_rate) and self.learning_rate > 0,
            "betas": isinstance(betas, tuple)
            and len(betas) == 2
            and all(_is_number(beta) and 0 <= beta < 1 for beta in betas),
            "eps": _is_number(self.eps) and self.eps > 0,
            "schedule": self.schedule in ("constant", "cosine"),
            "stop_psnr": self.stop_psnr is None or _is_number(self.stop_psnr),
        }
        wrong = [f"{name} = {getattr(self, name)!r}" for name, good in allowed.items() if not good]
        if wrong:
            raise ZooError(f"fit recipe {self.name!r}: impossible settings: {', '.join(wrong)}")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


INR_RECIPES = {
    recipe.name: recipe
    for recipe in (
        # the published MNIST INRs (Navon et al., 2023, arXiv 2301.12780), as their weights' statistics tell
        FitRecipe("mnist-inrs"),
        # the published FashionMNIST INRs
        FitRecipe("fmnist-inrs", steps=10_000, learning_rate=5e-4),
        # a fifth of the cost at the same quality; weights of another distribution
        FitRecipe("fast-300", steps=300, learning_rate=5e-3, betas=(0.9, 0.95), schedule="cosine"),
    )
}


def fit_recipe(recipe: str | FitRecipe) -> FitRecipe:
    """A recipe, or the one of that name; ZooError lists the names."""
    if isinstance(recipe, FitRecipe):
        return recipe
    if recipe not in INR_RECIPES:
        raise ZooError(f"unknown fit recipe {recipe!r}; known: {', '.join(INR_RECIPES)}")
    return INR_RECIPES[recipe]
