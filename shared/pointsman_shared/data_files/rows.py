"""The file formats of labelled utterances: from a file to rows with unchecked fields.

They are the formats that teams already have, and Pointsman's own. The messages name all problems of a file at once, by
their lines, and never quote it: it may hold customers' words.
"""

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from pointsman_shared import errors
from pointsman_shared.data_files.cells import unguard

# All rows of a file are in memory at once, and a row may be much larger there than in the file.
MAX_ROWS = 1_000_000
MAX_CHARS = 100_000_000
MAX_BYTES_A_CHAR = 4
MAX_PROBLEMS_SHOWN = 20
LABELLED = ("text", "intent")
# Rasa's annotations: [Berlin](city), [Berlin](city:capital), [Berlin]{"entity": "city"}, [Berlin][{...}, {...}].
_ENTITY = re.compile(r"\[([^\[\]]+)\](?:\([^()]*\)|\{[^{}]*\}|\[\{[^\[\]]*\}\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of a file, unchecked."""

    line: int
    """The line on which it begins; in a JSON list, the number of the element. The first is 1."""
    fields: Mapping[str, object]


@dataclass(slots=True)
class Problems:
    """Collects problems, to report all of them at once."""

    found: list[str] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Note a problem and its place."""
        self.found.append(f"{place}: {what}")

    def raise_if_any(self) -> None:
        """Raise `InvalidDataError` with all problems, if there are any."""
        if not self.found:
            return
        shown = self.found[:MAX_PROBLEMS_SHOWN]
        more = len(self.found) - len(shown)
        lines = [*shown, f"and {more} more problems"] if more else shown
        raise errors.InvalidDataError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _File:
    """A file's text, its name in messages, and its problems."""

    text: str
    name: str
    problems: Problems
    columns: Collection[str]

    def object_to(self, line: int, what: str) -> None:
        self.problems.add(f"{self.name}:{line}", what)
        self.bound(len(self.problems.found))

    def bound(self, rows: int) -> None:
        """Raise InvalidDataError for more rows than a file may have."""
        if rows > MAX_ROWS:
            msg = f"{self.name}: has more than {MAX_ROWS:,} rows: use a part of it, such as a random sample"
            raise errors.InvalidDataError(msg)


def read(
    path: Path, problems: Problems, *, shown_as: str | None = None, columns: Collection[str] = LABELLED
) -> list[Record]:
    """Read a file's rows without checking their fields; `InvalidDataError` if the file cannot be read at all.

    `problems` collects the rows that cannot be parsed, `shown_as` is the file's name in messages, and `columns` are
    those that the header of a CSV file must name.
    """
    name = shown_as or str(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        msg = f"{name}: cannot tell its format from its ending; use one of {', '.join(_READERS)}"
        raise errors.InvalidDataError(msg)
    file = _File(_read_text(path, name), name, problems, columns)
    found = []
    for record in reader(file):
        found.append(record)
        file.bound(len(found))
    return found


def _read_text(path: Path, name: str) -> str:
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= MAX_BYTES_A_CHAR * MAX_CHARS else None
    except UnicodeDecodeError as error:
        msg = f"{name}: is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise errors.InvalidDataError(msg) from None
    except OSError as error:
        msg = f"{name}: cannot be read: {error.strerror}"
        raise errors.InvalidDataError(msg) from error
    if text is None or len(text) > MAX_CHARS:
        msg = f"{name}: has more than {MAX_CHARS:,} characters: use a part of it, such as a random sample"
        raise errors.InvalidDataError(msg)
    return text


def _read_json_lines(file: _File) -> Iterator[Record]:
    # Not splitlines(), which ends lines at U+2028 and other characters that JSON strings may hold.
    for line, row in enumerate(file.text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            value = _parse_json(row)
        except (ValueError, RecursionError) as error:
            why = "" if isinstance(error, json.JSONDecodeError) else f": {_unparsed(error)}"
            file.object_to(line, f"is not JSON{why}")
            continue
        yield from _record(file, line, value)


def _parse_json(text: str) -> object:
    return json.loads(text, parse_constant=_refuse_constant)


def _unparsed(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "a number is NaN or infinite, or has too many digits"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _record(file: _File, line: int, value: object) -> Iterator[Record]:
    if isinstance(value, dict):
        yield Record(line=line, fields=value)
    else:
        file.object_to(line, 'is not an object such as {"text": ..., "intent": ...}')


def _read_json(file: _File) -> Iterator[Record]:
    try:
        content = _parse_json(file.text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _read_json_lines(file)
            return
        line, why = getattr(error, "lineno", 1), getattr(error, "msg", _unparsed(error))
        file.object_to(line, f"is not JSON: {why}")
        return
    for place, element in enumerate(content if isinstance(content, list) else [content], start=1):
        yield from _record(file, place, element)


def _read_csv(file: _File) -> Iterator[Record]:
    rows = csv.reader(StringIO(file.text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for row in rows:
            if header is None:
                header = [column.strip().lower() for column in row]
                if not set(file.columns) <= set(header):
                    file.object_to(1, f"the header must name the columns {','.join(file.columns)}")
                    return
            elif len(row) > len(header):
                file.object_to(
                    line, "has more columns than the header; put a text with commas into double quotes"
                )
            elif row:
                yield Record(line=line, fields=dict(zip(header, map(unguard, row), strict=False)))
            line = rows.line_num + 1
    except csv.Error as error:
        file.object_to(line, f"is not CSV: {error}")


def _read_rasa_yaml(file: _File) -> Iterator[Record]:
    try:
        import yaml  # noqa: PLC0415 - a thin installation has no PyYAML and reads the other formats
    except ImportError:
        msg = f"{file.name}: reading YAML needs PyYAML; install pointsman[workers]"
        raise errors.InvalidDataError(msg) from None

    class Loader(yaml.SafeLoader):
        nodes = 0

        def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  PyYAML's signature
            # A node takes hundreds of times the memory of the two characters that may stand for it.
            self.nodes += 1
            file.bound(self.nodes)
            # A few kilobytes of aliases of aliases stand for millions of rows.
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's
                raise yaml.composer.ComposerError(
                    problem="aliases are not taken: write the examples out", problem_mark=mark
                )
            return super().compose_node(parent, index)

    try:
        root = yaml.compose(file.text, Loader=Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        file.object_to(
            mark.line + 1 if mark else 1, f"is not YAML: {getattr(error, 'problem', 'nested too deeply')}"
        )
        return
    entries = _mapping(root).get("nlu")
    if entries is None or not isinstance(entries.value, list):
        file.object_to(1, "has no list `nlu:`, as Rasa's training data does")
        return
    for entry in entries.value:
        yield from _rasa_intent(file, _mapping(entry))


def _mapping(node: Any) -> dict[str, Any]:  # noqa: ANN401 - PyYAML's nodes are not importable without PyYAML
    """Return a YAML mapping's nodes by name; an empty mapping for any other node."""
    if node is None or node.id != "mapping":
        return {}
    return {key.value: value for key, value in node.value if isinstance(key.value, str)}


def _rasa_intent(file: _File, entry: Mapping[str, Any]) -> Iterator[Record]:
    # The same list holds synonyms, lookups and regexes.
    if "intent" not in entry:
        return
    examples = entry.get("examples")
    if examples is None:
        file.object_to(entry["intent"].start_mark.line + 1, "the intent has no examples")
        return
    for line, text in _rasa_examples(file, examples):
        yield Record(line=line, fields={"intent": entry["intent"].value, "text": _ENTITY.sub(r"\1", text)})


def _rasa_examples(file: _File, examples: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401 - a YAML node, see _mapping
    if examples.id == "sequence":
        for item in examples.value:
            text = _mapping(item).get("text", item)
            yield text.start_mark.line + 1, text.value if text.id == "scalar" else ""
        return
    if examples.id != "scalar":
        file.object_to(examples.start_mark.line + 1, "the examples are not a list")
        return
    # The lines of a block (`examples: |`) begin below the bar.
    first = examples.start_mark.line + (2 if examples.style == "|" else 1)
    yield from _listed(file, enumerate(examples.value.split("\n"), start=first))


def _listed(file: _File, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for line, row in lines:
        text = row.strip()
        if text.startswith("-"):
            yield line, text[1:].strip()
        elif text:
            file.object_to(line, "an example must begin with `- `")


_READERS: Mapping[str, Callable[[_File], Iterator[Record]]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".yml": _read_rasa_yaml,
    ".yaml": _read_rasa_yaml,
}
ENDINGS = frozenset(_READERS)
