"""Texts as numbers: a vocabulary, and vectors of words from the company they keep."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..._errors import ZooError

__all__ = ["Words"]

_WINDOW = 4  # words on each side that count as company
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Words:
    """The most frequent words of some texts, with a vector for each.

    Vectors are a factorisation of the positive pointwise mutual information of words that occur at most four places
    apart, with contexts smoothed by the power 0.75 (Levy, Goldberg & Dagan, 2015), scaled to unit variance.

    Attributes:
        index: the number of each word, from 1 on; 0 stands for no word.
        vectors: one for each number; that of 0 is zero.
    """

    index: dict[str, int]
    vectors: "Float[Tensor, 'words width']"

    @classmethod
    def of(cls, texts: Sequence[str], width: int, most: int = 20_000) -> "Words":
        """The words of texts.

        Args:
            texts: the training texts.
            width: length of the vectors.
            most: how many words at most.

        Raises:
            ZooError: if the texts have too few different words.
        """
        split = [_split(text) for text in texts]
        counts = Counter(chain.from_iterable(split))
        index = {word: i + 1 for i, (word, _) in enumerate(counts.most_common(most))}
        if len(index) <= width:
            raise ZooError(f"texts: expected more than {width} different words, found {len(index)}")
        return cls(index, _vectors([_numbers(words, index) for words in split], len(index) + 1, width))

    def numbers(self, texts: Sequence[str], length: int) -> "Int64[Tensor, 'texts length']":
        """The first ``length`` known words of each text, then zeros."""
        rows = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            known = _numbers(_split(text), self.index)[:length]
            row[: len(known)] = known
        return torch.from_numpy(rows)


def _split(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _numbers(words: list[str], index: dict[str, int]) -> np.ndarray:
    return np.array([index[word] for word in words if word in index], dtype=np.int64)


def _vectors(texts: list[np.ndarray], size: int, width: int) -> Tensor:
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    gap = np.zeros(_WINDOW, dtype=np.int64)  # between texts, so that their words keep no company
    line = np.concatenate([part for text in texts for part in (text, gap)])
    pairs = np.concatenate([np.stack([line[:-d], line[d:]]) for d in range(1, _WINDOW + 1)], axis=1)
    pairs = pairs[:, (pairs > 0).all(0)]
    counts = coo_matrix((np.ones(pairs.shape[1]), tuple(pairs)), shape=(size, size)).tocsr()
    counts = (counts + counts.T).tocoo()
    total = np.asarray(counts.sum(1)).ravel()
    context = total**0.75
    information = np.log(counts.data * context.sum() / (total[counts.row] * context[counts.col]))
    positive = coo_matrix((np.maximum(information, 0), (counts.row, counts.col)), shape=(size, size)).tocsr()
    left, values, _ = svds(positive, k=width, v0=np.ones(size), which="LM")
    vectors = left * np.sqrt(values)
    vectors[0] = 0
    return torch.from_numpy(vectors / vectors[1:].std()).float()
