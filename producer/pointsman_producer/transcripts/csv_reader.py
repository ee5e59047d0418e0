"""The rows of a CSV transcript, each as the record that a JSON line would hold."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from pointsman_producer.transcripts import fields
from pointsman_shared import errors
from pointsman_shared.data_files.cells import unguard

USER_CELLS = ("email", "country")


def read(
    lines: Iterator[tuple[int, bytes]], *, name: str
) -> Iterator[tuple[int, bytes, Callable[[], dict[str, Any]]]]:
    """Read rows: the number of the first line, the content, and how to make the record (`UnusableError`).

    An `InvalidDataError` refuses a file without a usable header, or with a quote that is never closed.
    """
    taken: list[tuple[int, bytes]] = []
    rows = csv.reader(_decoded(lines, taken), strict=True)
    header = _header(rows, taken, name)
    while True:
        taken.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            if len(taken) > 1:
                msg = f"{name}:{taken[0][0]}: is not CSV: {error}; is a quote not closed?"
                raise errors.InvalidDataError(msg) from error
            yield *taken[0], partial(_refuse, f"is not CSV: {error}")
            continue
        if row is None:
            return
        if row:
            content = [line for _, line in taken]
            yield taken[0][0], b"".join(content), partial(_record, header, row, content)


def _header(rows: Iterator[list[str]], taken: Sequence[tuple[int, bytes]], name: str) -> list[str]:
    problem: object = (
        "no column is named text (expected: conversation_id, speaker, text, and perhaps ts, user_id)"
    )
    try:
        header = [column.strip() for column in next(rows, ())]
        _check_encoding(line for _, line in taken)
        names = list(map(str.casefold, header))
        if twice := sorted({name for name in names if name and names.count(name) > 1}):
            problem = f"two columns are named {twice[0]}"
        elif "text" in names:
            return header
    except (csv.Error, fields.UnusableError) as error:
        problem = error
    msg = f"{name} has no usable CSV header: {problem}"
    raise errors.InvalidDataError(msg)


def _decoded(lines: Iterator[tuple[int, bytes]], taken: list[tuple[int, bytes]]) -> Iterator[str]:
    """Decode lines, and list those of the present row."""
    for number, line in lines:
        taken.append((number, line))
        # An error here would end the file; `_record` refuses the row.
        yield line.decode("utf-8", "surrogateescape")


def _check_encoding(lines: Iterable[bytes]) -> None:
    for line in lines:
        fields.parse_text(line)


def _refuse(reason: str) -> dict[str, Any]:
    raise fields.UnusableError(reason)


def _record(header: Sequence[str], row: Sequence[str], lines: Sequence[bytes]) -> dict[str, Any]:
    _check_encoding(lines)
    if len(row) != len(header):
        msg = f"has {len(row)} fields; the header has {len(header)}"
        raise fields.UnusableError(msg)
    cells = {column.casefold(): cell for column, cell in zip(header, map(unguard, row), strict=True)}
    record: dict[str, Any] = {name: cells[name] for name in ("conversation_id", "text") if name in cells}
    record |= {name: cells[name] or None for name in ("speaker", "ts") if name in cells}
    if user_id := cells.get("user_id"):
        known = {name: cells[name] for name in USER_CELLS if cells.get(name)}
        custom = {name: cell for name, cell in _custom(header, row) if cell}
        record["user"] = {"id": user_id, "custom": custom, **known}
    return record


def _custom(header: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    for column, cell in zip(header, map(unguard, row), strict=True):
        if column.casefold() == "plan":
            yield "plan", cell
        elif column.casefold().startswith("user."):
            yield column[len("user.") :], cell
