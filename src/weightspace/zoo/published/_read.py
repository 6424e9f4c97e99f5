"""`read_published`: one name for all published data sets."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..._errors import ZooError
from .._zoo import Zoo
from ._cnn_zoo import small_cnn_zoo
from ._files import Source
from ._inrs import fmnist_inrs, mnist_inrs, nfn_sirens
from ._transformers import small_transformer_zoo
from ._wild_park import cnn_wild_park

__all__ = ["PUBLISHED", "read_published"]

_READERS: dict[str, Callable[..., tuple[Zoo, ...]]] = {
    "small-cnn-zoo": small_cnn_zoo,
    "cnn-wild-park": cnn_wild_park,
    "small-transformer-zoo": small_transformer_zoo,
    "mnist-inrs": mnist_inrs,
    "fmnist-inrs": fmnist_inrs,
    "nfn-sirens": nfn_sirens,
}
PUBLISHED = tuple(_READERS)
"""The published data sets that `read_published` knows."""


def read_published(
    kind: str,
    folder: str | os.PathLike[str],
    *,
    split: Literal["published", "corrected"] = "published",
    splits: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[Zoo, ...]:
    """Reads a data set of networks as it was published. No pickle is ever run.

    ===========================  =======================================================================================
    kind                         networks, and options
    ===========================  =======================================================================================
    ``"small-cnn-zoo"``          CNNs (Unterthiner et al., 2020, arXiv 2002.11448), a zoo for each activation;
                                 ``activation="relu"`` or ``"tanh"`` takes these alone, and then divides them;
                                 ``step=86``, the epoch.
    ``"cnn-wild-park"``          CNNs of many architectures (Kofinas et al., 2024, arXiv 2403.12143).
    ``"small-transformer-zoo"``  Transformers (Tran et al., 2024, arXiv 2410.04209); ``data="mnist"`` or ``"ag_news"``,
                                 ``cut_off=0.0``, the least accuracy, ``epoch=75``.
    ``"mnist-inrs"``             SIRENs of MNIST (Navon et al., 2023, arXiv 2301.12780).
    ``"fmnist-inrs"``            SIRENs of FashionMNIST (the same), or several views of them (Shamsian et al., 2024,
                                 arXiv 2402.04081).
    ``"nfn-sirens"``             SIRENs of MNIST, FashionMNIST or CIFAR-10 (Zhou et al., 2023, arXiv 2302.14040);
                                 ``split_points=(45000, 50000)``, the first indices of validation and test;
                                 ``copies=True`` adds the further SIRENs of training images.
    ===========================  =======================================================================================

    Args:
        kind: which data set.
        folder: where it lies.
        split: "published" for the split of the papers' code, with its quirks; "corrected" for one without them. The
            page on published data sets tells them apart, set by set.
        splits: the file of the published split; by default the only such file in the folder.
        seed: of what a corrected split draws.
        options: of the kind.

    Returns:
        One zoo for each architecture, in memory. The columns say what is known of each network.

    Raises:
        ZooError: for another kind or option, or a negative seed; names files that are missing or damaged, or that hold
            more than tensors and plain values.
    """
    if kind not in _READERS:
        raise ZooError(f"unknown data set {kind!r}; known: {', '.join(PUBLISHED)}")
    if split not in ("published", "corrected"):
        raise ZooError(f"split: expected 'published' or 'corrected', found {split!r}")
    known = [name for name in inspect.signature(_READERS[kind]).parameters if name != "source"]
    if unknown := sorted(options.keys() - set(known)):
        raise ZooError(f"{kind} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    if seed < 0:
        raise ZooError(f"seed: expected a number from 0 on, found {seed}")
    if not Path(folder).is_dir():
        raise ZooError(f"{folder} is not a folder")
    file = None if splits is None else Path(splits)
    return _READERS[kind](Source(kind, Path(folder), split == "published", file, seed), **options)
