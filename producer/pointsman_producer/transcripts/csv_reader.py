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
    taken: list[tuple[int, bytes]] = []
    rows = csv.reader(_decoded(lines, taken), strict=True)
    header = _header(rows, taken, name)
    columns = [column.casefold() for column in header]
    while True:
        try:
            row = _next(rows, taken)
            if row is None:
                return
            if row:
                yield taken[0][0], _content(taken), _record(header, columns, row)
        except csv.Error as error:
            line = taken[0][0]
            if len(taken) > 1:
                msg = f"{name}:{line}: is not CSV: {error}; is a quote not closed?"
                raise errors.InvalidDataError(msg) from error
            reject(line, _content(taken), f"is not CSV: {error}")
        except fields.UnusableError as error:
            reject(taken[0][0], _content(taken), str(error))


def _header(rows: Iterator[list[str]], taken: list[tuple[int, bytes]], name: str) -> list[str]:
    problem: object = (
        "no column is named text (expected: conversation_id, speaker, text, and perhaps ts, user_id)"
    )
    try:
        header = [column.strip() for column in _next(rows, taken) or []]
        if "text" in map(str.casefold, header):
            return header
    except (csv.Error, fields.UnusableError) as error:
        problem = error
    msg = f"{name} has no usable CSV header: {problem}"
    raise errors.InvalidDataError(msg)


def _decoded(lines: Iterator[tuple[int, bytes]], taken: list[tuple[int, bytes]]) -> Iterator[str]:
    for number, line in lines:
        taken.append((number, line))
        # An error here would end the file; `_next` refuses the row.
        yield line.decode("utf-8", "surrogateescape")


def _next(rows: Iterator[list[str]], taken: list[tuple[int, bytes]]) -> list[str] | None:
    """Return the next row, None at the end; `taken` then holds its lines."""
    taken.clear()
    row = next(rows, None)
    for _, line in taken:
        fields.parse_text(line)
    return row


def _content(taken: list[tuple[int, bytes]]) -> bytes:
    return b"".join(line for _, line in taken)


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
