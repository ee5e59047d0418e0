"""Every string that goes over the wire: tasks, queues, Redis keys. Each stands here once."""

from typing import Final

CLASSIFY_TASK: Final = "pointsman.classify"
TRAIN_TASK: Final = "pointsman.train"
MODELS_TASK: Final = "pointsman.models"

SHADOW_TASK: Final = "pointsman.shadow"
SHADOW_QUERY_TASK: Final = "pointsman.shadow_report"
SHADOW_COMPARE_TASK: Final = "pointsman.shadow_compare"

INTERACTIVE_QUEUE: Final = "interactive"
BULK_QUEUE: Final = "bulk"
TRAIN_QUEUE: Final = "train"
SHADOW_QUEUE: Final = "shadow"
# In the order in which a worker looks at them: somebody waits for an interactive job.
SERVING_QUEUES: Final = (INTERACTIVE_QUEUE, BULK_QUEUE)

TIER_FLAG: Final = "proModel"
SHADOW_FLAG: Final = "shadowSampleRate"
BASE_TIER: Final = "base"
PRO_TIER: Final = "pro"
OUT_OF_SCOPE: Final = "out_of_scope"

FLAG_CONFIG_KEY: Final = "pointsman:flags:config"
LABELS_KEY: Final = "pointsman:labels"

# Every task of ours; the ledger keeps a message of these open until it has an outcome.
TASK_PREFIX: Final = "pointsman."
# Sorted sets: message id -> when the message was last known to be under way, dead letter id -> when it died.
OPEN_INDEX_KEY: Final = "pointsman:open"
DEAD_INDEX_KEY: Final = "pointsman:dead"
# Who looks for lost messages at the moment, and what was counted over the deployment's life.
RECONCILER_KEY: Final = "pointsman:reconciler"
STATS_KEY: Final = "pointsman:stats"
# Sorted sets: message id -> when a start of it was found not to have ended, and when its last start may be tried.
CUT_OFF_KEY: Final = "pointsman:cut_off"
LATER_KEY: Final = "pointsman:later"
# Where kombu's Redis transport books what was taken from a queue and is not acknowledged yet.
UNACKED_KEY: Final = "unacked"
TRAIN_UNACKED_KEY: Final = f"{UNACKED_KEY}:{TRAIN_QUEUE}"

SHADOW_PAIRS_KEY: Final = "pointsman:shadow:pairs"
# Sorted set: served message id -> when its shadow work may begin; and the memory its texts take, in bytes.
SHADOW_WAITING_KEY: Final = "pointsman:shadow:waiting"
SHADOW_BYTES_KEY: Final = "pointsman:shadow:bytes"
# Hash: version -> what is wrong with it as a candidate.
SHADOW_TROUBLE_KEY: Final = "pointsman:shadow:trouble"
# In the deployment's counts: messages left out without knowing of which models, because Redis refused them, or nobody did
# shadow work for too long.
SHADOW_DROPPED: Final = "shadow_dropped"
LABELS_COUNT_KEY: Final = "pointsman:labels:count"


def result_key(message_id: str) -> str:
    """Name the key of a message's outcome: Celery's own, so that any Celery client can read it."""
    return f"celery-task-meta-{message_id}"


def done_key(message_id: str) -> str:
    """Name the guard that makes a message's effects happen once."""
    return f"pointsman:done:{message_id}"


def batch_key(batch_id: str) -> str:
    """Name the hash of a batch's progress counters."""
    return f"pointsman:batch:{batch_id}"


def open_key(message_id: str) -> str:
    """Name the hash of a message under way: what is needed to publish it again, and how often it was begun."""
    return f"pointsman:open:{message_id}"


def dead_key(letter_id: str) -> str:
    """Name the hash of a dead letter."""
    return f"pointsman:dead:{letter_id}"


def cancelled_key(batch_id: str) -> str:
    """Name the mark of a batch that was cancelled."""
    return f"pointsman:cancelled:{batch_id}"


def pulse_key(node: str) -> str:
    """Name the sign of life of a worker: when it last looked at its queues."""
    return f"pointsman:pulse:{node}"


def reply_channel(client_id: str) -> str:
    """Name the channel on which a client hears that one of its messages is done."""
    return f"pointsman:reply:{client_id}"


def process_key(host: str, pid: int) -> str:
    """Name the hash in which a worker process says which models and flags it serves."""
    return f"pointsman:process:{host}:{pid}"


def training_key(tier: str) -> str:
    """Name the hash of a tier's training run under way: `id`, `holder`, `cancel`."""
    return f"pointsman:training:{tier}"


def trained_key(run_id: str) -> str:
    """Name what became of a training run, so that the same run is not done twice."""
    return f"pointsman:trained:{run_id}"


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


def shadow_kept_key(message_id: str) -> str:
    """Name the hash of a served message that waits to be shadowed: the request, and how far shadowing has come."""
    return f"pointsman:shadow:kept:{message_id}"


def shadow_counts_key(pair: str) -> str:
    """Name the hash of what is counted of a pair of versions."""
    return f"pointsman:shadow:counts:{pair}"


def shadow_sample_key(pair: str, kind: str) -> str:
    """Name the sorted set of a pair's sampled disagreements or agreements."""
    return f"pointsman:shadow:sample:{pair}:{kind}"


def shadow_rows_key(pair: str) -> str:
    """Name the hash of what is known of a pair's sampled and labelled texts, by job."""
    return f"pointsman:shadow:rows:{pair}"


def shadow_drawn_key(pair: str) -> str:
    """Name the set of a pair's jobs that the label queue handed out."""
    return f"pointsman:shadow:drawn:{pair}"


def version_name(tier: str, version: int) -> str:
    """Name a version, as `pro@7`."""
    return f"{tier}@{version}"


def pair_name(served: str, candidate: str) -> str:
    """Name a pair of versions, as `pro@7 vs base@4`."""
    return f"{served} vs {candidate}"
