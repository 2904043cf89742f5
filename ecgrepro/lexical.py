"""A stand-in for a language model that needs no download: it knows spelling, not meaning.

A word is the sum of its character n-grams, each hashed to a few signed positions of the vector (a sparse
random projection of the n-gram indicator that needs no stored matrix: Kane & Nelson 2014, Sparser
Johnson-Lindenstrauss transforms, J. ACM 61(1)). A text is the damped sum of its words, scaled to length 1.
'Inferior' and 'inferolateral' come out close because they share letters; 'atrial fibrillation' and 'absolute
arrhythmia' do not, although they mean the same.
"""

import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"[^\W_]+")
_POSITIONS = 8
_MAX_WORD = 64
"""Letters of a word that are read: a cell of 100 kB without a space must not make 300,000 n-grams."""


def ngrams(word: str, sizes: Sequence[int] = (3, 4, 5)) -> list[str]:
    """Cut a word, marked as '<word>', into its character n-grams; the marked word itself is one of them."""
    marked = f"<{word[:_MAX_WORD]}>"
    pieces = {marked}
    for size in sizes:
        pieces.update(marked[start : start + size] for start in range(len(marked) - size + 1))
    return sorted(pieces)


@lru_cache(maxsize=65536)
def _word_positions(word: str, dimension: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Hash a word to (position, signed count) pairs, ordered by position.

    blake2b, not Python's hash(): the latter differs between processes.
    """
    key = seed.to_bytes(8, "little", signed=True)
    counts: Counter[int] = Counter()
    for piece in ngrams(word):
        digest = hashlib.blake2b(
            piece.encode("utf-8", "surrogatepass"), digest_size=4 * _POSITIONS, key=key
        ).digest()
        for value in struct.unpack(f"<{_POSITIONS}I", digest):
            counts[(value >> 1) % dimension] += 1 if value & 1 else -1
    return tuple(sorted(counts.items()))


def _embed_one(text: str, dimension: int, seed: int) -> NDArray[np.float32]:
    """Embed one text; sums run in a fixed order and in float64, so that every machine gets the same bits."""
    vector = [0.0] * dimension
    for word, count in sorted(Counter(_TOKEN.findall(text.lower())).items()):
        damped = math.sqrt(count)
        for position, value in _word_positions(word, dimension, seed):
            vector[position] += damped * value
    norm = math.sqrt(math.fsum(value * value for value in vector))
    scaled = vector if norm == 0.0 else [value / norm for value in vector]
    return np.asarray(scaled, dtype=np.float32)


@dataclass(frozen=True)
class LexicalModel:
    """Hashed character n-grams (3 to 5, within words), projected to `dimension`, of length 1.

    Attributes
    ----------
    dimension
        Length of a vector; 768 by default, like BERT's.
    seed
        Chooses the projection.
    """

    dimension: int = 768
    seed: int = 0
    name: str = "lexical"
    revision: str | None = "1"
    description: str = "lexical stand-in: hashed character n-grams, projected at random; knows spelling, not meaning"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts of any language.

        Returns
        -------
        ndarray
            Shape (n, dimension), float32, rows of length 1 (a text without a letter or digit gives zeros).
        """
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = _embed_one(text, self.dimension, self.seed)
        return vectors
