"""Every Redis key and channel of a deployment. Each stands here once; all of them begin with its namespace."""

from pointsman_shared import names


class Keys:
    """The names of one deployment in Redis; a `Store` carries those of its settings."""

    def __init__(self, namespace: str) -> None:
        self._queues = f"{namespace}."
        self.prefix = prefix = f"{namespace}:"
        self.flag_config = f"{prefix}flags:config"
        # The refused flag configuration that people were notified of.
        self.flags_refused = f"{prefix}flags:refused"
        # Hash: tier -> how often its aliases changed, for those who read them.
        self.alias_changes = f"{prefix}registry:changes"
        # Hash: job -> its label; sorted set: job -> when it was labelled.
        self.labels = f"{prefix}labels"
        self.label_times = f"{prefix}labels:times"
        self.labels_count = f"{prefix}labels:count"
        # Sorted sets: message id -> when the message was last seen in flight; dead letter id -> when it was given up.
        self.open_index = f"{prefix}open"
        self.dead_index = f"{prefix}dead"
        # The worker that looks for lost messages at the moment, and counts over the deployment's life.
        self.reconciler = f"{prefix}reconciler"
        self.stats = f"{prefix}stats"
        # Sorted sets: message id -> when an attempt was found interrupted; message id -> when its last attempt may be made.
        self.interrupted = f"{prefix}interrupted"
        self.deferred = f"{prefix}deferred"
        # Where kombu's Redis transport notes messages that were taken from a queue and are not acknowledged yet.
        self.unacked = f"{prefix}unacked"
        self.train_unacked = f"{self.unacked}:{names.TRAIN_QUEUE}"
        self.shadow_pairs = f"{prefix}shadow:pairs"
        # Sorted set: served message id -> when its shadow work may start; and the bytes that its texts take.
        self.shadow_waiting = f"{prefix}shadow:waiting"
        self.shadow_bytes = f"{prefix}shadow:bytes"
        # Hash: version -> what is wrong with it as a candidate.
        self.shadow_trouble = f"{prefix}shadow:trouble"

    def queue(self, name: str) -> str:
        """Name a queue, as Redis and every Celery client know it; workers and clients call it by its short name."""
        return self._queues + name

    def is_queue(self, queue: str) -> bool:
        """Return whether a queue is one of this deployment."""
        return queue.startswith(self._queues)

    def short(self, queue: str) -> str:
        """Return the short name of a queue of this deployment."""
        return queue.removeprefix(self._queues)

    def result(self, message_id: str) -> str:
        """Name the key of a message's outcome. Celery's backend makes the same name, with `prefix` as its key prefix."""
        return f"{self.prefix}celery-task-meta-{message_id}"

    def done(self, message_id: str) -> str:
        """Name the guard that makes a message's effects happen once."""
        return f"{self.prefix}done:{message_id}"

    def batch(self, batch_id: str) -> str:
        """Name the hash of a batch's progress counters."""
        return f"{self.prefix}batch:{batch_id}"

    def open(self, message_id: str) -> str:
        """Name the hash of a message in flight: the message itself, and how many attempts were made."""
        return f"{self.prefix}open:{message_id}"

    def dead(self, letter_id: str) -> str:
        """Name the hash of a dead letter."""
        return f"{self.prefix}dead:{letter_id}"

    def cancelled(self, batch_id: str) -> str:
        """Name the mark of a cancelled batch."""
        return f"{self.prefix}cancelled:{batch_id}"

    def pulse(self, node: str) -> str:
        """Name the heartbeat of a worker: when it last heard from its queues."""
        return f"{self.prefix}pulse:{node}"

    def reply_channel(self, client_id: str) -> str:
        """Name the channel that tells a client which of its messages are done."""
        return f"{self.prefix}reply:{client_id}"

    def process(self, host: str, pid: int | str) -> str:
        """Name the hash in which a worker process says which models and flags it serves."""
        return f"{self.prefix}process:{host}:{pid}"

    def training(self, tier: str) -> str:
        """Name the hash of a tier's running training: `id`, `holder`, `cancel`."""
        return f"{self.prefix}training:{tier}"

    def shadow_kept(self, message_id: str) -> str:
        """Name the hash of a served message that waits to be shadowed: the request and the progress."""
        return f"{self.prefix}shadow:kept:{message_id}"

    def shadow_counts(self, pair: str) -> str:
        """Name the hash of a pair's counts."""
        return f"{self.prefix}shadow:counts:{pair}"

    def shadow_sample(self, pair: str, kind: str) -> str:
        """Name the sorted set of a pair's sampled disagreements or agreements."""
        return f"{self.prefix}shadow:sample:{pair}:{kind}"

    def shadow_rows(self, pair: str) -> str:
        """Name the hash of a pair's sampled and labelled texts, by job."""
        return f"{self.prefix}shadow:rows:{pair}"

    def shadow_drawn(self, pair: str) -> str:
        """Name the set of a pair's jobs that the label queue handed out."""
        return f"{self.prefix}shadow:drawn:{pair}"

    def alias_look(self, tier: str) -> str:
        """Name the mark that some process has looked into the registry, although it was told of no change."""
        return f"{self.prefix}registry:look:{tier}"

    def refused(self, tier: str, version: int) -> str:
        """Name the mark of a promotion that workers could not follow, because the version cannot be loaded."""
        return f"{self.prefix}refused:{tier}:{version}"
