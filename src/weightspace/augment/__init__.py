"""Augmentations: random changes of the weights of networks that leave a label as it is, or change it as they say.

Each is an object with its settings, applied as ``augmentation(theta, generator)``; its input stays as it was.
"""

from ._chain import Augmentation, Chain, OneOf
from ._entries import DropWeights, GaussianNoise, PruneSmallest
from ._inputs import RotateInputs, ScaleInputs, TranslateInputs, transform_inputs
from ._mixup import Mixed, Mixup, SelfMixup
from ._orbits import RandomElement, SineShifts, SineSigns

__all__ = [
    "Augmentation",
    "Chain",
    "DropWeights",
    "GaussianNoise",
    "Mixed",
    "Mixup",
    "OneOf",
    "PruneSmallest",
    "RandomElement",
    "RotateInputs",
    "ScaleInputs",
    "SelfMixup",
    "SineShifts",
    "SineSigns",
    "TranslateInputs",
    "transform_inputs",
]
