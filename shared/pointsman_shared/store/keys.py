"""Every Redis key and channel. Each stands here once; Celery's and kombu's own are named where we read them."""

from typing import Final

from pointsman_shared import names

FLAG_CONFIG: Final = "pointsman:flags:config"
# Hash: tier -> how often its aliases changed, for those who read them.
ALIAS_CHANGES: Final = "pointsman:registry:changes"
# Hash: job -> its label; sorted set: job -> when it was labelled.
LABELS: Final = "pointsman:labels"
LABEL_TIMES: Final = "pointsman:labels:times"
LABELS_COUNT: Final = "pointsman:labels:count"

# Sorted sets: message id -> when the message was last seen in flight; dead letter id -> when it was given up.
OPEN_INDEX: Final = "pointsman:open"
DEAD_INDEX: Final = "pointsman:dead"
# The worker that looks for lost messages at the moment, and counts over the deployment's life.
RECONCILER: Final = "pointsman:reconciler"
STATS: Final = "pointsman:stats"
# Sorted sets: message id -> when an attempt was found interrupted; message id -> when its last attempt may be made.
INTERRUPTED: Final = "pointsman:interrupted"
DEFERRED: Final = "pointsman:deferred"
# Where kombu's Redis transport notes messages that were taken from a queue and are not acknowledged yet.
UNACKED: Final = "unacked"
TRAIN_UNACKED: Final = f"{UNACKED}:{names.TRAIN_QUEUE}"

SHADOW_PAIRS: Final = "pointsman:shadow:pairs"
# Sorted set: served message id -> when its shadow work may start; and the bytes that its texts take.
SHADOW_WAITING: Final = "pointsman:shadow:waiting"
SHADOW_BYTES: Final = "pointsman:shadow:bytes"
# Hash: version -> what is wrong with it as a candidate.
SHADOW_TROUBLE: Final = "pointsman:shadow:trouble"


def result(message_id: str) -> str:
    """Name the key of a message's outcome. It is Celery's own, so that any Celery client can read it."""
    return f"celery-task-meta-{message_id}"


def done(message_id: str) -> str:
    """Name the guard that makes a message's effects happen once."""
    return f"pointsman:done:{message_id}"


def batch(batch_id: str) -> str:
    """Name the hash of a batch's progress counters."""
    return f"pointsman:batch:{batch_id}"


def open(message_id: str) -> str:  # noqa: A001  read as keys.open
    """Name the hash of a message in flight: the message itself, and how many attempts were made."""
    return f"pointsman:open:{message_id}"


def dead(letter_id: str) -> str:
    """Name the hash of a dead letter."""
    return f"pointsman:dead:{letter_id}"


def cancelled(batch_id: str) -> str:
    """Name the mark of a cancelled batch."""
    return f"pointsman:cancelled:{batch_id}"


def pulse(node: str) -> str:
    """Name the heartbeat of a worker: when it last heard from its queues."""
    return f"pointsman:pulse:{node}"


def reply_channel(client_id: str) -> str:
    """Name the channel that tells a client which of its messages are done."""
    return f"pointsman:reply:{client_id}"


def process(host: str, pid: int) -> str:
    """Name the hash in which a worker process says which models and flags it serves."""
    return f"pointsman:process:{host}:{pid}"


def training(tier: str) -> str:
    """Name the hash of a tier's running training: `id`, `holder`, `cancel`."""
    return f"pointsman:training:{tier}"


def trained(run_id: str) -> str:
    """Name the outcome of a training run, so that the same run is not done twice."""
    return f"pointsman:trained:{run_id}"


def shadow_kept(message_id: str) -> str:
    """Name the hash of a served message that waits to be shadowed: the request and the progress."""
    return f"pointsman:shadow:kept:{message_id}"


def shadow_counts(pair: str) -> str:
    """Name the hash of a pair's counts."""
    return f"pointsman:shadow:counts:{pair}"


def shadow_sample(pair: str, kind: str) -> str:
    """Name the sorted set of a pair's sampled disagreements or agreements."""
    return f"pointsman:shadow:sample:{pair}:{kind}"


def shadow_rows(pair: str) -> str:
    """Name the hash of a pair's sampled and labelled texts, by job."""
    return f"pointsman:shadow:rows:{pair}"


def shadow_drawn(pair: str) -> str:
    """Name the set of a pair's jobs that the label queue handed out."""
    return f"pointsman:shadow:drawn:{pair}"


def alias_look(tier: str) -> str:
    """Name the mark that some process has looked into the registry, although it was told of no change."""
    return f"pointsman:registry:look:{tier}"


def refused(tier: str, version: int) -> str:
    """Name the mark of a promotion that workers could not follow, because the version cannot be loaded."""
    return f"pointsman:refused:{tier}:{version}"
