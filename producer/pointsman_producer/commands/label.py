"""`pointsman label`: give the right answers. Labels decide which version is better, and training learns from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.client import registry
from pointsman_producer.commands import command_line, screen
from pointsman_producer.commands.command_line import examples
from pointsman_producer.files import labels as label_files
from pointsman_producer.files import tables, writers

SHOWN_REFUSALS = 20
# A message stays short work.
LABELS_PER_MESSAGE = 1_000
ONE = "job"


class LabelGroup(click.Group):
    """A group whose own arguments are a job and its intent: `label JOB INTENT` is short for `label job JOB INTENT`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an argument that names no command is a job."""
        if args and args[0] not in self.commands:
            args = [ONE, *args]
        return super().resolve_command(ctx, args)


out_options = command_line.options(
    click.argument("pair", required=False),
    command_line.out_option("The file for them: .jsonl, .csv or .parquet. [default: shown here]"),
    click.option("--force", is_flag=True, help="Replace an existing file."),
    command_line.raw_option,
    command_line.json_option,
)


@click.group(cls=LabelGroup, subcommand_metavar="JOB INTENT | COMMAND [ARGS]...")
def label() -> None:
    """Give the right answer to a job: `pointsman label JOB INTENT`.

    Labels decide whether a candidate is better than the champion, and training learns from them.
    """


@label.command(
    ONE,
    epilog=examples(
        "pointsman label 0b6e…:3 payment_methods --by ana", "pointsman label 0b6e…:4 out_of_scope"
    ),
)
@click.argument("job")
@click.argument("intent")
@click.option("--by", default="anonymous", help="Your name.")
@command_line.json_option
def label_job(*, job: str, intent: str, by: str, as_json: bool) -> None:
    """Label JOB with the right INTENT; a second label corrects the first."""
    with command_line.connected() as client:
        client.shadow.label(job, intent, by)
    screen.give({"job_id": job, "label": intent, "by": by}, f"{job} is {intent}", as_json=as_json)


@label.command(
    epilog=examples(
        "pointsman label queue",
        'pointsman label queue "pro@7 vs base@4" --limit 200 -o todo.csv',
        "pointsman label import todo.csv --by ana",
        note="""\
PAIR is as `pointsman shadow pairs` shows it. [default: the latest]
Disagreements come first, in random order, because they decide. Agreements follow, to estimate the accuracy.""",
    )
)
@out_options
@click.option("--limit", type=click.IntRange(1, 20_000), default=50, help="The most texts.")
def queue(*, pair: str | None, limit: int, out: Path | None, force: bool, raw: bool, as_json: bool) -> None:
    """Draw the texts to label first; fill in the column `label`, then submit the file with `label import`."""
    _check_out(out, force=force)
    with command_line.connected() as client:
        served, candidate = registry.find_pair(client, pair)
        rows = client.shadow.label_queue(served, candidate, limit=limit)
    shown = {"job_id": "job", "text": "text", "served": served, "candidate": candidate}
    _give(rows, out, label_files.QUEUE_COLUMNS, shown, raw=raw, as_json=as_json)


@label.command(
    epilog=examples(
        "pointsman label export -o labels.csv",
        'pointsman label export "pro@7 vs base@4" --json',
        note="With a PAIR, only the labels of its texts, with both answers.",
    )
)
@out_options
def export(*, pair: str | None, out: Path | None, force: bool, raw: bool, as_json: bool) -> None:
    """Export the labels, the earliest first."""
    _check_out(out, force=force)
    with command_line.connected() as client:
        chosen = registry.find_pair(client, pair) if pair else (None, None)
        rows = client.shadow.labels(*chosen)
    columns = label_files.PAIR_COLUMNS if pair else label_files.LABEL_COLUMNS
    shown = {"job_id": "job", "label": "label", "by": "by", "text": "text"}
    _give(rows, out, columns, shown, raw=raw, as_json=as_json)


@label.command(
    "import",
    epilog=examples(
        "pointsman label import todo.csv --by ana",
        "pointsman label import labels.jsonl --json",
        note="""\
Rows without a label are left out, so you can fill in a file step by step. Exit code 3 if a label is refused: the others
are stored.""",
    ),
)
@click.argument("file", type=command_line.FILE)
@click.option("--by", help="Your name, for rows without one. [default: anonymous]")
@command_line.json_option
def import_labels(*, file: Path, by: str | None, as_json: bool) -> None:
    """Submit the labels in FILE: JSON lines, JSON or CSV with job_id, label and perhaps by."""
    labels, lines, empty = label_files.read(file, by=by)
    line_of = {label["job_id"]: line for label, line in zip(labels, lines, strict=True)}
    accepted, rejected = 0, []
    with command_line.connected() as client:
        for start in range(0, len(labels), LABELS_PER_MESSAGE):
            done = client.shadow.label_many(labels[start : start + LABELS_PER_MESSAGE])
            accepted += done["accepted"]
            rejected += [{**refused, "line": line_of[refused["job_id"]]} for refused in done["rejected"]]
    told = f"{accepted} labels taken, {empty} rows without one left out, {len(rejected)} refused"
    facts = {"accepted": accepted, "rejected": rejected, "without_label": empty}
    screen.give(facts, told, as_json=as_json)
    for refused in () if as_json else rejected[:SHOWN_REFUSALS]:
        command_line.note("refused", f"{file}:{refused['line']}: {refused['job_id']}: {refused['reason']}")
    if rejected:
        raise click.exceptions.Exit(command_line.BAD_INPUT)


def _check_out(out: Path | None, *, force: bool) -> None:
    if out is not None:
        writers.format_of(out)
        writers.require_free(out, force=force)


def _give(
    rows: Sequence[Mapping[str, Any]],
    out: Path | None,
    columns: Mapping[str, tables.Kind],
    shown: Mapping[str, str],
    *,
    raw: bool,
    as_json: bool,
) -> None:
    if out is not None:
        label_files.write(out, rows, columns, raw=raw)
        command_line.say(f"{len(rows)} rows are in {escape(str(out))}")
    if as_json or out is None:
        screen.give_table(rows, shown, "There are none.", as_json=as_json)
