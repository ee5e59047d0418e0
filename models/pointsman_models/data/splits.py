"""The part of a data set that a row belongs to. It depends on the row alone, so no row ever moves to another part."""

import hashlib
import unicodedata
from typing import Final, Literal

PartName = Literal["train", "validation", "test"]
PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15


def normalise(text: str) -> str:
    """Remove differences of letter case, punctuation and spacing; a text of punctuation only stays as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(" " if unicodedata.category(character)[0] == "P" else character for character in folded)
    return " ".join(words.split()) or folded.strip()


def part_of(text: str, conversation: str | None = None) -> PartName:
    """Return the part of a row: about 70/15/15, decided by its conversation, or else by its normalised text.

    New rows never move old ones, so no version has seen the test part. The rows of one conversation stay together,
    because they are too similar to test each other. Within an intent the shares hold on average.
    """
    key = normalise(text) if conversation is None else f"conversation {conversation}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"
