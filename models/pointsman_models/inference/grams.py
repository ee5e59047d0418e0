"""The n-grams of texts that a fitted vocabulary knows: the text of each, and its place in the vocabulary."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from pointsman_models.inference.tokens import (
    END,
    END_NUMBER,
    Numbers,
    Places,
    Preprocessor,
    Splitter,
    numbered,
)

_UNKNOWN: Final = -2
_TOO_SHORT: Final = -3
# Bounds what a process keeps of the words that it met. A word costs some 200 bytes, its letters and its n-grams.
REMEMBERED_BYTES: Final = 8 << 20
_BYTES_OF_A_WORD: Final = 200

Words = tuple[str, ...]


class WordGrams:
    """Word n-grams, as a tree: an n-gram is a child of the one without its last word."""

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        preprocessor: Preprocessor,
        *,
        shortest_word: int,
    ) -> None:
        """Build the tree.

        Args:
            vocabulary: The place of each n-gram, whose words are separated by a space.
            preprocessor: The vectorizer's.
            shortest_word: Words of fewer letters are left out before n-grams are made.
        """
        self._preprocessor = preprocessor
        self._splitter = Splitter()
        self._leaves_out = shortest_word > 1
        terms = {tuple(term.split(" ")): place for term, place in vocabulary.items()}
        words = dict.fromkeys(word for term in terms for word in term)
        self._words = _Words(words, shortest_word)
        self._width = len(words)
        nodes: dict[Words, int] = {(word,): number for number, word in enumerate(words)}
        self._places = _places(terms, nodes)
        self._levels: list[tuple[Numbers, Numbers]] = []
        # The same for single texts, for which arrays are slower.
        self._places_of_words: list[int] = self._places.tolist()
        self._tables: list[tuple[dict[int, int], list[int]]] = []
        for size in range(2, max(map(len, terms), default=0) + 1):
            nodes = self._grow(terms, nodes, size)

    def _grow(self, terms: Mapping[Words, int], shorter: Mapping[Words, int], size: int) -> dict[Words, int]:
        """Add the n-grams of a size, and the beginnings of longer ones; return their numbers."""
        beginnings = {term[:size] for term in terms if len(term) >= size}
        found = sorted(
            (shorter[words[:-1]] * self._width + self._words[words[-1]], words) for words in beginnings
        )
        nodes = {words: number for number, (_, words) in enumerate(found)}
        keys = np.array([key for key, _ in found], dtype=np.int64)
        places = _places(terms, nodes)
        self._levels.append((keys, places))
        self._tables.append((dict(zip(keys.tolist(), range(len(keys)), strict=True)), places.tolist()))
        return nodes

    def find_in(self, text: str) -> list[int]:
        """Return what `find` finds in one text: the same in less time."""
        words = list(map(self._words.__getitem__, self._splitter.split(self._preprocessor.join([text]))))
        if self._leaves_out:
            words = [word for word in words if word != _TOO_SHORT]
        found = [self._places_of_words[word] for word in words]
        nodes = words
        for size, (numbers, places) in enumerate(self._tables, start=1):
            keys = [
                node * self._width + word if node >= 0 <= word else -1
                for node, word in zip(nodes, words[size:], strict=False)
            ]
            nodes = [numbers.get(key, -1) for key in keys]
            found += [places[node] for node in nodes if node >= 0]
        return [place for place in found if place >= 0]

    def find(self, texts: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return the text and the place of every known n-gram, as often as it occurs."""
        tokens = self._splitter.split(self._preprocessor.join(texts))
        rows, words = numbered(tokens, self._words.__getitem__)
        if self._leaves_out:
            kept = words != _TOO_SHORT
            rows, words = rows[kept], words[kept]
        starts = np.flatnonzero(words >= 0)
        nodes = words[starts]
        found = [(rows[starts], self._places[nodes])]
        for size, (keys, places) in enumerate(self._levels, start=2):
            ends = starts + (size - 1)
            inside = ends < len(words)
            starts, ends, nodes = starts[inside], ends[inside], nodes[inside]
            wanted = nodes * self._width + words[ends]
            # A search for values in order takes a third of the time.
            order = wanted.argsort()
            starts, ends, wanted = starts[order], ends[order], wanted[order]
            at = keys.searchsorted(wanted)
            whole = (keys.take(at, mode="clip") == wanted) & (rows[starts] == rows[ends]) & (words[ends] >= 0)
            starts, nodes = starts[whole], at[whole]
            found.append((rows[starts], places[nodes]))
        all_rows, all_places = (np.concatenate(parts) for parts in zip(*found, strict=True))
        known = all_places >= 0
        return all_rows[known], all_places[known]


class _Words(dict[str, int]):
    """The numbers of words; those that no n-gram has, and `END`, have negative ones."""

    def __init__(self, words: Mapping[str, None], shortest: int) -> None:
        super().__init__({word: number for number, word in enumerate(words)})
        self[END] = END_NUMBER
        self._shortest = shortest

    def __missing__(self, word: str) -> int:
        return _UNKNOWN if len(word) >= self._shortest else _TOO_SHORT


def _places(terms: Mapping[Words, int], nodes: Mapping[Words, int]) -> Numbers:
    """Return the places of nodes; those at the end are for the negative numbers of words."""
    return np.array([*(terms.get(words, -1) for words in nodes), -1, -1, -1], dtype=np.int64)


class CharacterGrams:
    """Character n-grams inside word boundaries (`analyzer="char_wb"`). The n-grams of a word are found once and kept."""

    def __init__(
        self, vocabulary: Mapping[str, int], preprocessor: Preprocessor, *, sizes: tuple[int, int]
    ) -> None:
        """Keep the vocabulary.

        Args:
            vocabulary: The place of each n-gram.
            preprocessor: The vectorizer's.
            sizes: The least and the greatest number of characters.
        """
        self._vocabulary = vocabulary
        self._preprocessor = preprocessor
        self._sizes = sizes
        self._forget()

    def _forget(self) -> None:
        self._words = _Learnt(self._learn)
        self._bytes = 0
        # The places of the words' n-grams, one word after the other, with room for more; word i ends at ends[i + 1].
        self._places: Places = np.empty(1 << 12, dtype=np.int32)
        self._ends: Places = np.zeros(1 << 10, dtype=np.int32)

    def find_in(self, text: str) -> Places:
        """Return what `find` finds in one text: the same in less time."""
        words = [self._words[word] for word in self._preprocessor.join([text]).split()]
        starts, places = self._ends, self._places
        parts = [places[starts[word] : starts[word + 1]] for word in words]
        self._forget_if_much()
        return np.concatenate(parts) if parts else places[:0]

    def find(self, texts: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return the text and the place of every known n-gram, as often as it occurs."""
        rows, words = numbered(self._preprocessor.join(texts).split(), self._words.__getitem__)
        starts, ends = self._ends[words], self._ends[words + 1]
        counts = ends - starts
        before = np.cumsum(counts) - counts
        each = np.repeat(starts - before, counts) + np.arange(counts.sum())
        found = np.repeat(rows, counts), self._places[each].astype(np.int64)
        self._forget_if_much()
        return found

    def _forget_if_much(self) -> None:
        if self._bytes > REMEMBERED_BYTES:
            self._forget()

    def _learn(self, word: str) -> int:
        get = self._vocabulary.get
        found = [place for gram in self._grams(word) if (place := get(gram)) is not None]
        number = len(self._words) - 1
        start = int(self._ends[number])
        end = start + len(found)
        self._ends = _with_room(self._ends, number + 2)
        self._places = _with_room(self._places, end)
        self._places[start:end] = found
        self._ends[number + 1] = end
        self._bytes += _BYTES_OF_A_WORD + word.__sizeof__() + found.__sizeof__()
        return number

    def _grams(self, word: str) -> list[str]:
        # As in scikit-learn's _char_wb_ngrams, a word shorter than the n-gram counts once and ends the sizes.
        padded = f" {word} "
        grams: list[str] = []
        shortest, longest = self._sizes
        for size in range(shortest, longest + 1):
            last = len(padded) - size
            grams.extend(padded[start : start + size] for start in range(max(last, 0) + 1))
            if last <= 0:
                break
        return grams


class _Learnt(dict[str, int]):
    """The numbers of words that were met; `learn` numbers a new one."""

    def __init__(self, learn: Callable[[str], int]) -> None:
        super().__init__({END: END_NUMBER})
        self._learn = learn

    def __missing__(self, word: str) -> int:
        number = self[word] = self._learn(word)
        return number


def _with_room(array: Places, size: int) -> Places:
    """Return the array with at least so many elements, so that growing by one is cheap on average."""
    return array if size <= len(array) else np.resize(array, max(size, 2 * len(array)))
