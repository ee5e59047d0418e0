"""Writing what a batch gives: the journal of outcomes, and files in JSON lines, CSV or Parquet.

Outcomes become bytes straight from a reply's columns: this runs once per text. The other formats are made from
the journal's rows at the end. pyarrow is loaded only where Parquet is asked for.
"""

import contextlib
import csv
import fcntl
import importlib.util
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from pointsman_producer.summaries import ConversationSummary
from pointsman_producer.transcripts import Conversation, Rejection, Turn
from pointsman_shared import errors, jobs, names

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: Mapping[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
PARQUET_ROWS = 10_000
BUFFER_BYTES = 1024 * 1024
SEPARATOR = " > "

Row = dict[str, Any]
Kind = Literal["text", "integer", "number", "texts", "ranking"]

OUTCOME_COLUMNS: Mapping[str, Kind] = {
    "job_id": "text",
    "conversation_id": "text",
    "turn": "integer",
    "speaker": "text",
    "ts": "text",
    "user_id": "text",
    "text": "text",
    "intent": "text",
    "confidence": "number",
    "tier": "text",
    "model_version": "integer",
    "flag_key": "text",
    "flag_value": "text",
    "flag_variation_id": "text",
    "flag_reason": "text",
    "flag_etag": "text",
    "wait_ms": "number",
    "inference_ms": "number",
    # Last, since in CSV its width depends on the models.
    "ranking": "ranking",
}
SUMMARY_COLUMNS: Mapping[str, Kind] = {
    "conversation_id": "text",
    "user_id": "text",
    "turns": "integer",
    "intents": "texts",
    "primary_intent": "text",
    "out_of_scope_share": "number",
    "tiers": "texts",
}


def format_of(path: Path) -> Format:
    """Choose the format by a file's ending.

    Raises:
        InvalidDataError: The ending says nothing, or Parquet is asked for and cannot be written here.
    """
    chosen = FORMATS.get(path.suffix.lower())
    if chosen is None:
        msg = f"{path} has to end in one of {', '.join(FORMATS)}: the ending chooses the format"
        raise errors.InvalidDataError(msg)
    if chosen == "parquet" and importlib.util.find_spec("pyarrow") is None:
        msg = "writing Parquet needs pyarrow: pip install 'pointsman[parquet]'"
        raise errors.InvalidDataError(msg)
    return chosen


def encode_outcomes(
    reply: jobs.ClassifyReply, owners: Sequence[Conversation], turns: Sequence[Turn], *, include_text: bool
) -> list[bytes]:
    """Encode a reply as one JSON line per turn, in order.

    Raises:
        JobFailedError: The reply does not fit what was asked.
    """
    try:
        return list(_lines(reply, owners, turns, include_text=include_text))
    except (ValueError, IndexError) as error:
        msg = f"the reply to message {reply.message_id} does not fit its {len(turns)} texts"
        raise errors.JobFailedError(msg) from error


def _lines(
    reply: jobs.ClassifyReply, owners: Sequence[Conversation], turns: Sequence[Turn], *, include_text: bool
) -> Iterator[bytes]:
    columns = zip(
        owners,
        turns,
        reply.intent,
        reply.confidence,
        reply.ranking,
        reply.ranking_confidence,
        reply.route_of,
        strict=True,
    )
    # What follows the ranking is the same for every job of a route, so it is encoded once.
    endings = [_encode_ending(route, reply.wait_ms) for route in reply.routes]
    labels = [route.intents for route in reply.routes]
    message_id, job_id, dumps = reply.message_id, names.job_id, orjson.dumps
    for place, (owner, turn, intent, confidence, ranking, shares, route) in enumerate(columns):
        of_route = labels[route]
        row: Row = {
            "job_id": job_id(message_id, place),
            "conversation_id": owner.id,
            "turn": turn.place,
            "speaker": turn.speaker,
            "ts": turn.ts,
            "user_id": owner.user_id,
            "text": turn.text,
            "intent": intent,
            "confidence": confidence,
            "ranking": [
                {"intent": of_route[label], "confidence": share}
                for label, share in zip(ranking, shares, strict=True)
            ],
        }
        if not include_text:
            del row["text"]
        yield dumps(row)[:-1] + endings[route]


def _encode_ending(route: jobs.Route, wait_ms: float | None) -> bytes:
    """Encode what closes a row, from the comma behind the ranking on."""
    ending = {
        "tier": route.tier,
        "model_version": route.model_version,
        "flag": route.flag.model_dump(),
        "wait_ms": wait_ms,
        "inference_ms": route.inference_ms,
    }
    return b"," + orjson.dumps(ending, option=orjson.OPT_APPEND_NEWLINE)[1:]


class Table(Protocol):
    """A file being written row by row."""

    def write(self, row: Row) -> None:
        """Add a row."""

    def close(self) -> None:
        """Write what is still held, and close the file."""


def open_table(path: Path, chosen: Format, columns: Mapping[str, Kind], *, ranks: int = 0) -> Table:
    """Begin a file.

    Args:
        path: Where it is to be; what is there is overwritten.
        chosen: Its format.
        columns: The columns of the tabular formats; JSON lines take rows as they are.
        ranks: How many entries the longest ranking has: in CSV each is two columns.
    """
    if chosen == "jsonl":
        return JsonLinesTable(path)
    return CsvTable(path, columns, ranks) if chosen == "csv" else ParquetTable(path, columns)


class JsonLinesTable:
    """One JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=BUFFER_BYTES)

    def write(self, row: Row) -> None:
        """Add a row."""
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvTable:
    """CSV as RFC 4180 has it; every value stands as it is, whatever a spreadsheet would make of it."""

    def __init__(self, path: Path, columns: Mapping[str, Kind], ranks: int) -> None:
        plain = [name for name, kind in columns.items() if kind != "ranking"]
        self._plain = operator.itemgetter(*plain)
        self._texts = [name for name, kind in columns.items() if kind == "texts"]
        self._rank_cells = 2 * ranks
        self._file = path.open("w", encoding="utf-8", newline="", buffering=BUFFER_BYTES)
        self._writer = csv.writer(self._file)
        ranked = [
            f"ranking_{rank}_{part}" for rank in range(1, ranks + 1) for part in ("intent", "confidence")
        ]
        self._writer.writerow([*plain, *ranked])

    def write(self, row: Row) -> None:
        """Add a row."""
        for name in self._texts:
            row[name] = SEPARATOR.join(row[name])
        self._writer.writerow(
            [*self._plain(row), *self._ranked(row)] if self._rank_cells else self._plain(row)
        )

    def _ranked(self, row: Row) -> list[object]:
        cells = [cell for ranked in row["ranking"] for cell in (ranked["intent"], ranked["confidence"])]
        return cells + [None] * (self._rank_cells - len(cells))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetTable:
    """Parquet, in row groups of `PARQUET_ROWS`."""

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        # Loaded here because it is an extra, and takes longer to load than a small batch to run.
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        types: dict[Kind, Any] = {
            "text": pa.string(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "texts": pa.list_(pa.string()),
            "ranking": pa.list_(pa.struct({"intent": pa.string(), "confidence": pa.float64()})),
        }
        self._schema = pa.schema({name: types[kind] for name, kind in columns.items()})
        self._make_batch = pa.RecordBatch.from_pylist
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) >= PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_batch(self._make_batch(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Write the last row group and close the file."""
        if self._rows:
            self._flush()
        self._writer.close()


def outcome_columns(*, include_text: bool) -> Mapping[str, Kind]:
    """Give the columns of a table of outcomes."""
    return {name: kind for name, kind in OUTCOME_COLUMNS.items() if include_text or name != "text"}


def flat_outcome(row: Row) -> Row:
    """Turn a journal's row, in place, into one of a table: the flag in columns, and one type a column.

    A time that was a number and a flag's value become text; `true` and `false` are written so.
    """
    flag = row.pop("flag")
    row["ts"] = _as_text(row["ts"])
    row["flag_key"] = flag["key"]
    row["flag_value"] = _as_text(flag["value"])
    row["flag_variation_id"] = flag["variation_id"]
    row["flag_reason"] = flag["reason"]
    row["flag_etag"] = flag["etag"]
    return row


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def summary_row(summary: ConversationSummary) -> Row:
    """Turn a conversation's summary into a row."""
    return {name: getattr(summary, name) for name in SUMMARY_COLUMNS}


def staged(path: Path) -> Path:
    """Name the file that becomes `path` when it is whole."""
    return path.with_name(path.name + ".new.partial")


def publish(finished: Path, path: Path) -> None:
    """Put a finished file where it belongs: all of it is there, also after a power cut, or none of it."""
    _sync(finished)
    finished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """The outcomes written so far, and in a file beside them what they belong to. Held by one run at a time.

    First it is read (`replay`) until it gives out, which cuts off what a kill left half written; then rows are
    appended.
    """

    def __init__(self, path: Path, header_path: Path) -> None:
        self.path = path
        self._header_path = header_path
        self.is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=BUFFER_BYTES)
        self._lock()
        self._end = 0
        self._replayed = False
        self._disposable = False

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        else:
            # The run that held it may have finished, and removed it, a moment ago.
            free = self._is_in_place()
        if not free:
            self._file.close()
            msg = f"another run is writing {self.path}"
            raise errors.BusyError(msg)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    @property
    def is_empty(self) -> bool:
        """Say whether there is not a byte in it."""
        return os.fstat(self._file.fileno()).st_size == 0

    def read_header(self) -> bytes | None:
        """Read what the outcomes belong to; None where nothing was begun."""
        try:
            return self._header_path.read_bytes()
        except FileNotFoundError:
            return None

    def begin(self, header: bytes) -> None:
        """Start over with a header and no rows."""
        self._file.truncate(0)
        new = staged(self._header_path)
        new.write_bytes(header)
        publish(new, self._header_path)
        self._replayed = self._disposable = True

    def keep(self) -> None:
        """Have it stay when it is closed, even without rows: messages bear its batch's id from now on."""
        self._disposable = False

    def replay(self, limit: int) -> list[Row]:
        """Give the next rows of an earlier run; fewer than `limit` when there are no more."""
        rows: list[Row] = []
        while len(rows) < limit and (row := self._next_row()) is not None:
            rows.append(row)
        return rows

    def _next_row(self) -> Row | None:
        if self._replayed:
            return None
        line = self._file.readline()
        try:
            row: Row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = {}
        if not row or not line.endswith(b"\n"):
            self._cut()
            return None
        self._end += len(line)
        return row

    def _cut(self) -> None:
        self._file.seek(self._end)
        self._file.truncate()
        self._replayed = True

    def append(self, lines: Sequence[bytes]) -> None:
        """Add rows."""
        self._disposable = False
        self._file.write(b"".join(lines))
        self._file.flush()

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        os.fsync(self._file.fileno())

    def publish_as(self, path: Path, columns: Mapping[str, Kind], *, ranks: int) -> None:
        """Make the rows a file of their own, in the format of its ending, and end the journal.

        As JSON lines that is a change of name, whatever the size.
        """
        chosen = format_of(path)
        if chosen == "jsonl":
            publish(self.path, path)
        else:
            self._convert(staged(path), chosen, columns, ranks)
            publish(staged(path), path)
        self.remove()

    def _convert(self, path: Path, chosen: Format, columns: Mapping[str, Kind], ranks: int) -> None:
        self._file.seek(0)
        try:
            with contextlib.closing(open_table(path, chosen, columns, ranks=ranks)) as table:
                for line in self._file:
                    table.write(flat_outcome(orjson.loads(line)))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Delete what is still there: it has served."""
        self.path.unlink(missing_ok=True)
        self._header_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another run have it, if it is worth going on with."""
        if self._disposable:
            self.remove()
        self._file.close()


class RejectedLines:
    """Writes down the lines that cannot be used. Every run reads the input from the start, and so begins anew."""

    def __init__(self, path: Path, tell: Callable[[Rejection], None]) -> None:
        self._path = path
        self._tell = tell
        self._table: JsonLinesTable | None = None
        self.count = 0

    def begin(self) -> None:
        """Forget what an earlier run wrote."""
        self._path.unlink(missing_ok=True)

    def add(self, rejection: Rejection) -> None:
        """Take a line."""
        if self._table is None:
            self._table = JsonLinesTable(self._path)
        self._table.write({"line": rejection.line, "reason": rejection.reason, "content": rejection.content})
        self.count += 1
        self._tell(rejection)

    def close(self) -> None:
        """Close the file."""
        if self._table is not None:
            self._table.close()
