"""Files of labels: rows to label are written, labelled rows are read. JSON lines, CSV, Parquet (written only)."""

from collections.abc import Iterable, Mapping
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


def write(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, tables.Kind], *, raw: bool = False
) -> None:
    """Write rows in the format of the ending, whole or not at all (`InvalidDataError`); `raw` is that of `tables`."""
    chosen = writers.format_of(path)
    with writers.whole(path) as new, tables.writing(new, chosen, columns, raw=raw) as write:
        for row in rows:
            write({name: row.get(name) for name in columns})


def read(path: Path, *, by: str | None = None) -> tuple[list[dict[str, str]], list[int], int]:
    """Read labels and their lines from JSON lines, a JSON list or CSV, and count the rows without one (`InvalidDataError`)."""
    problems = formats.Problems()
    labels, lines = [], []
    empty = 0
    for record in formats.read(path, problems, columns=REQUIRED):
        label = record.fields.get("label")
        if isinstance(label, list | dict):
            problems.add(f"{path}:{record.line}", "label is not a string")
            continue
        if label is None or label == "":
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
        lines.append(record.line)
    problems.raise_if_any()
    if not labels and not empty:
        msg = f"{path}: holds no labels"
        raise errors.InvalidDataError(msg)
    return labels, lines, empty
