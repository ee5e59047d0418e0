"""Files of labels: what is to be labelled goes out, what was labelled comes in. JSON lines, CSV, Parquet (out only)."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pointsman_producer.files import tables, writers
from pointsman_shared import errors, names
from pointsman_shared.data_files import rows as formats
from pointsman_shared.wire import shadow

REQUIRED: Final = ("job_id", "label")
QUEUE_COLUMNS: Final[Mapping[str, tables.Kind]] = {
    "job_id": "text",
    "text": "text",
    "label": "text",
    "served": "text",
    "candidate": "text",
    "agreed": "flag",
    "probability": "number",
}
LABEL_COLUMNS: Final[Mapping[str, tables.Kind]] = {
    "job_id": "text",
    "label": "text",
    "by": "text",
    "labelled_at": "number",
    "text": "text",
    "tier": "text",
}
PAIR_COLUMNS: Final[Mapping[str, tables.Kind]] = {
    **LABEL_COLUMNS,
    "served": "text",
    "candidate": "text",
    "drawn": "flag",
}


def write(path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, tables.Kind]) -> None:
    """Write rows; the format follows from the ending. The file is there as a whole or not at all.

    Raises:
        InvalidDataError: The ending names no format, or the file cannot be written.
    """
    chosen = writers.format_of(path)
    with writers.whole(path) as new, closing(tables.open_table(new, chosen, columns)) as table:
        for row in rows:
            table.write({name: row.get(name) for name in columns})


def read(path: Path, *, by: str | None = None) -> tuple[list[dict[str, str]], int]:
    """Read labels: `job_id`, `label` and perhaps `by` each; further columns are ignored.

    Args:
        path: JSON lines, a JSON list or CSV.
        by: Who says so where a row does not.

    Returns:
        The labels, and how many rows have none yet.

    Raises:
        InvalidDataError: The file cannot be read, or has bad rows; all of them are named, up to 20.
    """
    problems = formats.Problems()
    labels = []
    empty = 0
    for record in formats.read(path, problems, columns=REQUIRED):
        if record.fields.get("label") in {None, ""}:
            empty += 1
            continue
        row = {name: str(record.fields.get(name) or "").strip() for name in (*REQUIRED, "by")}
        row["by"] = row["by"] or by or "anonymous"
        try:
            names.parse_job_id(row["job_id"])
            shadow.Label.parse({"job_id": row["job_id"], "intent": row["label"], "by": row["by"]})
        except (ValueError, errors.InvalidMessageError) as error:
            problems.add(f"{path}:{record.line}", str(error) if row["job_id"] else "job_id is missing")
        labels.append(row)
    problems.raise_if_any()
    if not labels and not empty:
        msg = f"{path}: holds no labels"
        raise errors.InvalidDataError(msg)
    return labels, empty
