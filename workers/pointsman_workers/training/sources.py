"""Labelled rows beside the tier's files: what people said of jobs since, and what a team's own tools hold.

Only `RedisLabels`'s book knows Redis.
"""

import codecs
import http.client
import re
import shlex
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pointsman_models.data.dataset import Source
from pointsman_shared import errors
from pointsman_shared.data_files import rows as formats
from pointsman_shared.data_files import utterances

TIMEOUT_S = 60
MAX_BYTES = 64 * 1024 * 1024
FORMATS = frozenset({".jsonl", ".json", ".csv", ".yml", ".yaml"})

_YAML = re.compile(rb"^nlu\s*:", re.MULTILINE)


class LabelBook(Protocol):
    """Where labels are kept: job id and `{text?, intent, tier, at, by}`."""

    def labels(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give all labels."""
        ...


class Feed(Protocol):
    """Somewhere labelled rows come from."""

    def rows(self, tier: str) -> Source | None:
        """Give a tier's rows, or None if there are none."""
        ...


def gather(feeds: Sequence[Feed], tier: str) -> list[Source]:
    """Ask all feeds for a tier's rows."""
    return [found for feed in feeds if (found := feed.rows(tier)) is not None]


class Labels:
    """The labels that came in through the product. Those whose text was not kept teach nothing and are skipped."""

    NAME = "labels"

    def __init__(self, book: LabelBook) -> None:
        self._book = book

    def rows(self, tier: str) -> Source | None:
        """Give the labels of a tier's jobs, in the order of the jobs' ids."""
        problems = formats.Problems()
        found = [
            checked
            for job, label in sorted(self._book.labels(), key=lambda pair: pair[0])
            if label.get("tier") == tier and label.get("text")
            # A label that cannot be used is somebody's slip of the finger, and no reason not to train.
            if (checked := utterances.check(formats.Record(line=1, fields=label), f"label {job}", problems))
        ]
        return Source(name=self.NAME, rows=tuple(found)) if found else None


class Annotations:
    """Fresh annotations from a URL, or from a command that prints them: JSON lines, JSON, CSV or Rasa NLU YAML.

    Args:
        place: The URL or the command; `{tier}` in it stands for the tier's name.
    """

    NAME = "annotations"

    def __init__(self, place: str) -> None:
        self._place = place

    def rows(self, tier: str) -> Source | None:
        """Fetch a tier's annotations; there may be none.

        Raises:
            InvalidDataError: They cannot be fetched or read. The message does not quote the place, which may hold
                a password.
        """
        place = self._place.replace("{tier}", tier)
        content, ending = _fetch(place) if "://" in place.split()[0] else (_run(place), "")
        if len(content) > MAX_BYTES:
            msg = f"the annotations have more than {MAX_BYTES // 1024 // 1024} MiB"
            raise errors.InvalidDataError(msg)
        if not content.strip():
            return None
        problems = formats.Problems()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"annotations{ending if ending in FORMATS else _format_of(content)}")
            path.write_bytes(content)
            records = formats.read(path, problems, shown_as=self.NAME)
        found = [row for record in records if (row := utterances.check(record, self.NAME, problems))]
        problems.raise_if_any()
        return Source(name=self.NAME, rows=tuple(found)) if found else None


def _fetch(url: str) -> tuple[bytes, str]:
    """Give what a URL answers, and how its path ends."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  the operator's own setting
            content: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        what = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        msg = f"the annotations could not be fetched: {what}"
        raise errors.InvalidDataError(msg) from error
    return content, Path(urllib.parse.urlsplit(url).path).suffix.lower()


def _run(command: str) -> bytes:
    """Give what a command prints."""
    try:
        # Without a shell: a tier's name is one word, whatever it is.
        done = subprocess.run(  # noqa: S603  the operator's own setting
            shlex.split(command), stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        msg = f"the command that fetches annotations {_failing(error)}"
        raise errors.InvalidDataError(msg) from error
    return done.stdout


def _failing(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"failed with exit code {error.returncode}; the trainer's log has what it said"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took longer than {TIMEOUT_S} s"
    return f"cannot be run: {type(error).__name__}"


def _format_of(content: bytes) -> str:
    """Tell a format by how its content begins."""
    begins = content.removeprefix(codecs.BOM_UTF8).lstrip()
    if begins.startswith((b"{", b"[")):
        # As JSON, JSON lines are read too.
        return ".json"
    header = {name.strip(b' "').lower() for name in begins.splitlines()[0].split(b",")}
    if {b"text", b"intent"} <= header:
        return ".csv"
    if _YAML.search(begins):
        return ".yaml"
    msg = "the annotations are neither JSON, JSON lines, CSV with a header text,intent nor Rasa NLU YAML"
    raise errors.InvalidDataError(msg)
