"""Every name that goes over the wire: tasks, queues, flags, job ids. Each stands here once; keys are in `store.keys`."""

from typing import Final

CLASSIFY_TASK: Final = "pointsman.classify"
TRAIN_TASK: Final = "pointsman.train"
MODELS_TASK: Final = "pointsman.models"

SHADOW_TASK: Final = "pointsman.shadow"
SHADOW_QUERY_TASK: Final = "pointsman.shadow_report"
SHADOW_COMPARE_TASK: Final = "pointsman.shadow_compare"

# The short names of the queues; `store.keys` gives the names that they have in Redis.
INTERACTIVE_QUEUE: Final = "interactive"
BULK_QUEUE: Final = "bulk"
TRAIN_QUEUE: Final = "train"
SHADOW_QUEUE: Final = "shadow"
# The exchange of Celery's events.
EVENTS: Final = "events"
# In the order in which a worker reads them: a user waits for an interactive job.
SERVING_QUEUES: Final = (INTERACTIVE_QUEUE, BULK_QUEUE)

SHADOW_FLAG: Final = "shadowSampleRate"
OUT_OF_SCOPE: Final = "out_of_scope"

# Every task of ours; the ledger keeps a message of these open until it has an outcome.
TASK_PREFIX: Final = "pointsman."
# The counter of messages that were left out of shadowing before their models were known.
SHADOW_DROPPED: Final = "shadow_dropped"
# How a worker process's problem with `tiers.toml` begins.
OF_TIERS: Final = "tiers: "
# The counter of served messages that could not be read for shadowing.
SHADOW_UNREADABLE: Final = "shadow_unreadable"


def job_id(message_id: str, place: int) -> str:
    """Name a job: its message and its place in it, so that nothing extra is stored."""
    return f"{message_id}:{place}"


def parse_job_id(job: str) -> tuple[str, int]:
    """Split a job id into its message id and its place.

    Raises:
        ValueError: The text is not a job id.
    """
    message_id, colon, place = job.rpartition(":")
    if not colon or not message_id or not place.isdecimal():
        msg = f"{job!r} is not a job id: expected MESSAGE_ID:PLACE"
        raise ValueError(msg)
    return message_id, int(place)


def version_name(tier: str, version: int) -> str:
    """Name a version, as `pro@7`."""
    return f"{tier}@{version}"


def pair_name(served: str, candidate: str) -> str:
    """Name a pair of versions, as `pro@7 vs base@4`."""
    return f"{served} vs {candidate}"
