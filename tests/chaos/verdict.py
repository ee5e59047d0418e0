"""What was submitted and what became of it, compared text by text."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from pointsman_producer.client import Client, checked_request, new_id
from pointsman_producer.handles import Handle, MessageHandle
from pointsman_shared import dead_letters, errors, names
from tests.chaos.stage import Stage
from tests.support import tiny

TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The figures of a run; all of `FAULTS` must be zero."""

    texts: int = 0
    lost: int = 0
    wrong: int = 0
    failed: int = 0
    counters_off: int = 0
    left_open: int = 0
    left_queued: int = 0
    left_unacked: int = 0
    dead_letters: int = 0
    republished: int = 0
    delivered_again: int = 0
    submissions_repeated: int = 0
    duration_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    buried: list[str] = field(default_factory=list)

    FAULTS = (
        "lost",
        "wrong",
        "failed",
        "counters_off",
        "left_open",
        "left_queued",
        "left_unacked",
        "dead_letters",
    )

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or left behind."""
        return not any(getattr(self, name) for name in self.FAULTS)

    def line(self) -> str:
        """Give the figures on one line."""
        facts = {name: value for name, value in asdict(self).items() if name not in {"faults", "buried"}}
        return ", ".join(f"{name} {value:g}" for name, value in {**facts, **self.faults}.items())


class Workload:
    """Submits texts in every way there is, and holds what it was promised.

    Args:
        client: Whose outages are ridden out by submitting again under the same id.
        expected: What a text's intent is when nothing is in the way.
    """

    def __init__(self, client: Client, expected: dict[str, str]) -> None:
        self._client = client
        self._expected = expected
        self.batch = new_id()
        self.messages: list[tuple[MessageHandle, list[str]]] = []
        self.singles: list[Handle] = []
        self.repeated = 0

    def bulk(self, count: int, size: int) -> None:
        """Submit texts in messages of a batch."""
        for start in range(0, count, size):
            texts = [TEXTS[(start + place) % len(TEXTS)] for place in range(min(size, count - start))]
            self._submit(texts, names.BULK_QUEUE)

    def single(self, count: int) -> None:
        """Submit texts one by one, each a message."""
        for place in range(count):
            self._submit([TEXTS[place % len(TEXTS)]], names.INTERACTIVE_QUEUE)

    def coalesced(self, count: int) -> None:
        """Submit texts one by one, that share messages."""
        for place in range(count):
            self.singles.append(self._client.submit(TEXTS[place % len(TEXTS)]))
            if place % 100 == 0:
                time.sleep(0.05)

    def _submit(self, texts: list[str], queue: str) -> None:
        request = checked_request(texts, [None] * len(texts), self.batch)
        message_id = new_id()
        while True:
            try:
                message = self._client.submit_message(request, message_id=message_id, queue=queue)
            except errors.RetryableError:
                self.repeated += 1
                time.sleep(0.2)
            else:
                self.messages.append((message, texts))
                return

    def judge(self, stage: Stage, timeout_s: float) -> Verdict:
        """Wait for everything, and compare."""
        deadline = time.monotonic() + timeout_s
        verdict = Verdict(submissions_repeated=self.repeated, faults=dict(stage.done))
        for message, texts in self.messages:
            verdict.texts += len(texts)
            self._judge(verdict, message, texts, deadline)
        for handle in self.singles:
            verdict.texts += 1
            self._judge_single(verdict, handle, deadline)
        counted = self._client.progress(self.batch)
        done = counted.pop("done", 0)
        submitted = sum(len(texts) for _, texts in self.messages)
        by_intent: Counter[str] = Counter(
            self._expected[text] for _, texts in self.messages for text in texts
        )
        found = {name.partition(":")[2]: count for name, count in counted.items()}
        verdict.counters_off = abs(done - submitted) + sum((by_intent - Counter(found)).values())
        _look_at_redis(verdict, stage, deadline)
        return verdict

    def _judge(self, verdict: Verdict, message: MessageHandle, texts: Sequence[str], deadline: float) -> None:
        try:
            reply = message.result(max(0.1, deadline - time.monotonic()))
        except errors.ResultTimeoutError:
            verdict.lost += len(texts)
        except errors.PointsmanError:
            verdict.failed += len(texts)
        else:
            verdict.wrong += reply.intent != [self._expected[text] for text in texts]

    def _judge_single(self, verdict: Verdict, handle: Handle, deadline: float) -> None:
        try:
            outcome = handle.result(max(0.1, deadline - time.monotonic()))
        except errors.ResultTimeoutError:
            verdict.lost += 1
        except errors.RetryableError:
            # The client said so: nothing was promised.
            verdict.submissions_repeated += 1
        except errors.PointsmanError:
            verdict.failed += 1
        else:
            verdict.wrong += outcome.intent != self._expected[handle.text]


def _look_at_redis(verdict: Verdict, stage: Stage, deadline: float) -> None:
    with stage.redis.client() as redis:
        while True:
            verdict.left_open = int(redis.zcard(names.OPEN_INDEX_KEY))
            verdict.left_queued = sum(int(redis.llen(queue)) for queue in names.SERVING_QUEUES)
            verdict.left_unacked = int(redis.hlen(names.UNACKED_KEY))
            if not (verdict.left_open or verdict.left_queued or verdict.left_unacked):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        verdict.buried = [
            f"{letter.id} {letter.reason} {letter.detail} starts {letter.starts}"
            for letter in dead_letters.DeadLetters(redis, ttl_s=1, most=1).find()
        ]
        verdict.dead_letters = len(verdict.buried)
        verdict.republished = int(redis.hget(names.STATS_KEY, "republished") or 0)
    if stage.starts_file.exists():
        starts = Counter(stage.starts_file.read_text().split())
        verdict.delivered_again = sum(starts.values()) - len(starts)


def expected_intents(stage: Stage) -> dict[str, str]:
    """Classify with nothing in the way: what nobody's texts are on the base tier."""
    classifier = stage.registry.load_classifier(
        names.BASE_TIER, stage.registry.champion(names.BASE_TIER) or 1
    )
    return dict(zip(TEXTS, classifier.classify(TEXTS).intent, strict=True))
