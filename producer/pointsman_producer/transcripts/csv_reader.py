"""The rows of a CSV transcript, each as the record that a JSON line would hold."""

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pointsman_producer.transcripts import fields
from pointsman_shared import errors

Reject = Callable[[int, bytes, str], None]
USER_CELLS = ("email", "country")


def read(
    lines: Iterator[tuple[int, bytes]], *, name: str, reject: Reject
) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Read rows: the number of the first line, the content, the record.

    `reject` is called with the line, the content and the reason of each row that is not usable CSV. An
    `InvalidDataError` refuses a file without a usable header, or with a quote that is never closed.
    """
    rows = _Rows(lines)
    header = _header(rows, name)
    columns = [column.casefold() for column in header]
    while True:
        try:
            row = rows.next()
            if row is None:
                return
            if row:
                yield rows.line, rows.content, _record(header, columns, row)
        except csv.Error as error:
            if len(rows.taken) > 1:
                msg = f"{name}:{rows.line}: is not CSV: {error}; is a quote not closed?"
                raise errors.InvalidDataError(msg) from error
            reject(rows.line, rows.content, f"is not CSV: {error}")
        except fields.UnusableError as error:
            reject(rows.line, rows.content, str(error))


def _header(rows: "_Rows", name: str) -> list[str]:
    try:
        header = [column.strip() for column in rows.next() or []]
    except (csv.Error, fields.UnusableError) as error:
        msg = f"{name} has no usable CSV header: {error}"
        raise errors.InvalidDataError(msg) from error
    if "text" not in map(str.casefold, header):
        expected = "expected: conversation_id, speaker, text, and perhaps ts, user_id"
        msg = f"{name} has no usable CSV header: no column is named text ({expected})"
        raise errors.InvalidDataError(msg)
    return header


class _Rows:
    """Reads rows, and knows the lines of the last one."""

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self.taken: list[tuple[int, bytes]] = []
        self._fault: str | None = None
        self._reader = csv.reader(self._decoded(), strict=True)

    def _decoded(self) -> Iterator[str]:
        for number, line in self._lines:
            self.taken.append((number, line))
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                self._fault = fields.not_utf8(error)
                yield line.decode("utf-8", "surrogateescape")

    def next(self) -> list[str] | None:
        """Return the next row, None at the end."""
        self.taken, self._fault = [], None
        row = next(self._reader, None)
        if self._fault is not None:
            raise fields.UnusableError(self._fault)
        return row

    @property
    def line(self) -> int:
        return self.taken[0][0]

    @property
    def content(self) -> bytes:
        return b"".join(line for _, line in self.taken)


def _record(header: Sequence[str], columns: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    if len(row) != len(header):
        msg = f"has {len(row)} fields; the header has {len(header)}"
        raise fields.UnusableError(msg)
    cells = dict(zip(columns, row, strict=True))
    record: dict[str, Any] = {name: cells[name] for name in ("conversation_id", "text") if name in cells}
    record |= {name: cells[name] or None for name in ("speaker", "ts") if name in cells}
    if user_id := cells.get("user_id"):
        known = {name: cells[name] for name in USER_CELLS if cells.get(name)}
        custom = {name: cell for name, cell in _custom(header, row) if cell}
        record["user"] = {"id": user_id, "custom": custom, **known}
    return record


def _custom(header: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    for column, cell in zip(header, row, strict=True):
        if column.casefold() == "plan":
            yield "plan", cell
        elif column.casefold().startswith("user."):
            yield column[len("user.") :], cell
