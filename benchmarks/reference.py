"""What the queue is measured against: scikit-learn's own `predict` in two processes, without a queue."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sklearn.pipeline import Pipeline

NAME = "scikit-learn in two processes, no queue"
MESSAGE = 500
PROCESSES = 2

_pipeline: Any = None


@contextlib.contextmanager
def predicting(pipeline: Pipeline) -> Iterator[Callable[[Sequence[str]], int]]:
    """Give a contestant for any texts; it says how many it did."""
    global _pipeline  # noqa: PLW0603  the processes of the pool inherit it
    _pipeline = pipeline
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        yield lambda texts: sum(pool.imap_unordered(_predict, chunks(texts)))


def chunks(texts: Sequence[str]) -> list[Sequence[str]]:
    """Cut texts into parts of the size of a message."""
    return [texts[start : start + MESSAGE] for start in range(0, len(texts), MESSAGE)]


def _predict(texts: Sequence[str]) -> int:
    return len(_pipeline.predict(texts))
