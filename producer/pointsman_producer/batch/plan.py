"""The plan of a batch: its input, its files, and the checks before anything is done."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pointsman_producer.batch.journal import Header, digest
from pointsman_producer.client import stream
from pointsman_producer.client.window import DEFAULT_SIZE, DEFAULT_TIMEOUT_S
from pointsman_producer.files import writers
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.wire import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to classify, and where to write the outcomes; a batch without an id gets a random one. `raw` is that of `tables`."""

    source: str
    out: Path
    speakers: tuple[str, ...] = (transcript_reader.CUSTOMER,)
    include_text: bool = True
    ranking: int = 1
    resume: bool = False
    force: bool = False
    raw: bool = False
    batch_id: str | None = None
    texts_per_message: int = stream.TEXTS_PER_MESSAGE
    window: int = DEFAULT_SIZE
    timeout_s: float = DEFAULT_TIMEOUT_S

    @property
    def journal(self) -> Path:
        """The file of the outcomes until all are there."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def header(self) -> Path:
        """The file that describes the journal's batch."""
        return self.out.with_name(self.out.name + ".header.partial")

    @property
    def conversations(self) -> Path:
        """The file of the conversation summaries, in the format of the outcomes."""
        return self.out.with_name(f"{self.out.stem}.conversations{self.out.suffix}")

    @property
    def rejected(self) -> Path:
        """The file of the lines that cannot be used, if there are any."""
        return self.out.with_name(self.out.name + ".rejected.jsonl")


def check_outputs(plan: Plan) -> None:
    """Refuse outputs that cannot be written, or that would overwrite a file unasked."""
    writers.require_folder(plan.out)
    outputs = (plan.out, plan.journal, plan.conversations, plan.rejected)
    source = Path(plan.source)
    if source.exists() and any(path.exists() and path.samefile(source) for path in outputs):
        msg = f"{plan.source} would be overwritten: choose another output"
        raise errors.InvalidDataError(msg)
    if plan.resume or plan.force:
        return
    if plan.journal.exists():
        msg = f"{plan.journal} is there, from a batch that was not completed"
        raise errors.InvalidDataError(msg, errors.Remedy.RESUME_OR_START_OVER)
    writers.require_free(plan.out, force=False)
    writers.require_free(plan.conversations, force=False)


def header(plan: Plan, size: int | None) -> Header:
    """Describe the batch that a plan asks for."""
    try:
        return Header(
            batch=str(uuid.uuid4()) if plan.batch_id is None else plan.batch_id,
            input=plan.source,
            size=size,
            sha256=None if size is None else digest(Path(plan.source), size),
            speakers=list(plan.speakers),
            include_text=plan.include_text,
            ranking=plan.ranking,
            texts_per_message=plan.texts_per_message,
        )
    except ValidationError as error:
        raise errors.InvalidDataError(jobs.describe(error)) from None
