"""The tokens of a whole message of texts, cut at once: one pass for all texts is several times faster than one for each."""

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Places = NDArray[np.int32]

# Stands between the texts, as a token of its own; `number` in `numbered` gives it this number.
END: Final = "\x01"
END_NUMBER: Final = -1
# Takes the place of an `END` inside a text: half of a surrogate pair, which no file and so no vocabulary holds.
_SUBSTITUTE: Final = "\udffe"
_SPACE: Final = ord(" ")


class Preprocessor:
    """Lowers letters and strips accents, as a TfidfVectorizer does."""

    def __init__(self, *, lowercase: bool, strips_accents: bool) -> None:
        self._lowercase = lowercase
        self._strips_accents = strips_accents

    def join(self, texts: Sequence[str]) -> str:
        """Join texts to one in which `END` stands between them and nowhere else."""
        joined = f" {END} ".join(texts)
        if joined.count(END) >= max(1, len(texts)):
            joined = f" {END} ".join(text.replace(END, _SUBSTITUTE) for text in texts)
        if self._lowercase:
            joined = joined.lower()
        if self._strips_accents and not joined.isascii():
            letters = unicodedata.normalize("NFKD", joined)
            joined = "".join(letter for letter in letters if not unicodedata.combining(letter))
        return joined


class Splitter:
    """Cuts a joined text into words as the regular expression for letters, digits and underscores does, and `END`."""

    def __init__(self) -> None:
        # What each character becomes, 0 where that is not known yet. A page that was never written takes no memory.
        self._kept = np.zeros(sys.maxunicode + 1, dtype=np.uint32)
        self._kept[ord(END)] = ord(END)

    def split(self, text: str) -> list[str]:
        """Return the words, and `END` wherever it stands."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        kept = self._kept[codes]
        if not kept.all():
            self._learn(codes[kept == 0])
            kept = self._kept[codes]
        return kept.tobytes().decode("utf-32-le", "surrogatepass").split()

    def _learn(self, codes: NDArray[np.uint32]) -> None:
        for code in np.unique(codes).tolist():
            self._kept[code] = code if re.match(r"\w", chr(code)) else _SPACE


def numbered(tokens: Sequence[str], number: Callable[[str], int]) -> tuple[Numbers, Numbers]:
    """Number tokens, and tell in which text each stands.

    Args:
        tokens: The tokens of a message, with `END` between the texts.
        number: Gives the number of a token.

    Returns:
        The text and the number of each token but `END`; both have the same shape.
    """
    numbers = np.fromiter(map(number, tokens), dtype=np.int64, count=len(tokens))
    ends = numbers == END_NUMBER
    rows = np.cumsum(ends)
    kept = ~ends
    return rows[kept], numbers[kept]
