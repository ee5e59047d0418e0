"""Labelled rows beside the tier's files: labels that people gave to jobs, and annotations from a team's own tools."""

import http.client
import shlex
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import orjson

from pointsman_models.data.dataset import Source
from pointsman_shared import errors
from pointsman_shared.data_files import rows as formats
from pointsman_shared.data_files import utterances
from pointsman_shared.store.connection import Store

TIMEOUT_S = 60
MAX_BYTES = 64 * 1024 * 1024
FORMATS = frozenset({".jsonl", ".json", ".csv", ".yml", ".yaml"})
# As JSON, JSON lines are read too.
DEFAULT_FORMAT = ".json"


class Labels:
    """The labels that came in through the product. Those whose text was not kept teach nothing and are skipped."""

    NAME = "labels"

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self, tier: str) -> Source | None:
        """Return the labels of a tier's jobs, in the order of the jobs' ids."""
        stored = (
            (job.decode(), orjson.loads(raw))
            for job, raw in self._store.hscan_iter(self._store.keys.labels, count=1_000)
        )
        problems = formats.Problems()
        found = [
            checked
            for job, label in sorted(stored, key=lambda pair: pair[0])
            if label.get("tier") == tier and label.get("text")
            # A label that cannot be used is a person's mistake, and no reason not to train.
            if (checked := utterances.check(formats.Record(line=1, fields=label), f"label {job}", problems))
        ]
        return Source(name=self.NAME, rows=tuple(found)) if found else None


class Annotations:
    """Fresh annotations from a URL, or from a command that prints them.

    The end of a URL's path says the format: `.jsonl`, `.json`, `.csv`, `.yml` or `.yaml` (Rasa NLU). A command, and a
    URL without such an end, gives JSON or JSON lines.
    """

    NAME = "annotations"

    def __init__(self, place: str) -> None:
        self._place = place

    def rows(self, tier: str) -> Source | None:
        """Fetch a tier's annotations, or return None if there are none."""
        place = self._place.replace("{tier}", tier)
        content, ending = _fetch(place) if "://" in place.split()[0] else (_run(place), "")
        if len(content) > MAX_BYTES:
            msg = f"the annotations have more than {MAX_BYTES // 1024 // 1024} MiB"
            raise errors.InvalidDataError(msg)
        if not content.strip():
            return None
        problems = formats.Problems()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"annotations{ending if ending in FORMATS else DEFAULT_FORMAT}")
            path.write_bytes(content)
            records = formats.read(path, problems, shown_as=self.NAME)
        found = [row for record in records if (row := utterances.check(record, self.NAME, problems))]
        problems.raise_if_any()
        return Source(name=self.NAME, rows=tuple(found)) if found else None


def _fetch(url: str) -> tuple[bytes, str]:
    """Return the answer of a URL, and the end of its path."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  the operator's own setting
            content: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        what = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        msg = f"the annotations could not be fetched: {what}"
        raise errors.InvalidDataError(msg) from error
    return content, Path(urllib.parse.urlsplit(url).path).suffix.lower()


def _run(command: str) -> bytes:
    """Return the output of a command."""
    try:
        # Without a shell: a tier's name stays one word.
        done = subprocess.run(  # noqa: S603  the operator's own setting
            shlex.split(command), stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        msg = f"the command that fetches annotations {_failing(error)}"
        raise errors.InvalidDataError(msg) from error
    return done.stdout


def _failing(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"failed with exit code {error.returncode}; the trainer's log has its output"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took longer than {TIMEOUT_S} s"
    return f"cannot be run: {type(error).__name__}"
