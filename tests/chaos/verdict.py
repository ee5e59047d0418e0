"""What was submitted and what became of it, compared text by text."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client, new_id
from pointsman_producer.client.handles import Handle, MessageHandle
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.store import dead_letters
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.ledger import MAX_ATTEMPTS
from tests.chaos.stage import PRO_USER, TRAINED_TIER, Stage
from tests.support import tiny
from tests.support.ledgers import open_letters

TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
# A kill between taking something off a list and burying it takes along what is no message, and so is in no ledger.
KILLS = {"kill_child", "kill_worker", "kill_trainer", "kill_redis", "submit_poison"}

Answer = str
"""A tier and an intent, as `pro:greeting`."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The figures of a run; all of `FAULTS` must be zero."""

    texts: int = 0
    lost: int = 0
    wrong: int = 0
    failed: int = 0
    timed_off: int = 0
    ids_confused: int = 0
    progress_off: int = 0
    counters_off: int = 0
    comparisons_off: int = 0
    poison_attempted_too_often: int = 0
    unexpected_letters: int = 0
    missing_letters: int = 0
    left_open: int = 0
    left_queued: int = 0
    left_unacked: int = 0
    registry_broken: int = 0
    faults_missed: int = 0
    compared: int = 0
    shed: int = 0
    letters: int = 0
    trained: int = 0
    republished: int = 0
    delivered_again: int = 0
    submissions_repeated: int = 0
    duration_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    FAULTS: ClassVar = (
        "lost",
        "wrong",
        "failed",
        "timed_off",
        "ids_confused",
        "progress_off",
        "counters_off",
        "comparisons_off",
        "poison_attempted_too_often",
        "unexpected_letters",
        "missing_letters",
        "left_open",
        "left_queued",
        "left_unacked",
        "registry_broken",
        "faults_missed",
    )

    FACTS: ClassVar = {
        "texts": "texts",
        "compared": "comparisons",
        "shed": "not compared, counted as such",
        "letters": "dead letters",
        "trained": "promotions",
        "republished": "published again",
        "delivered_again": "attempted again",
    }

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or left behind."""
        return not any(getattr(self, name) for name in self.FAULTS)

    def line(self) -> str:
        """Give the figures on one line."""
        facts = {name: value for name, value in asdict(self).items() if name not in {"faults", "notes"}}
        return ", ".join(f"{name} {value:g}" for name, value in {**facts, **self.faults}.items())


class Workload:
    """Submits texts in every way there is, and holds what it was promised.

    Args:
        client: Whose outages are ridden out by submitting again under the same id.
        registry: Whose champions say what is right.
        keep_pace: Waits until a share of the work is due.
    """

    def __init__(self, client: Client, registry: Registry, keep_pace: Callable[[float], None]) -> None:
        self._client = client
        self._keep_pace = keep_pace
        self._free = _answers(registry, "base")
        self._pro = _answers(registry, "pro")
        self.batch = new_id()
        self.messages: list[tuple[MessageHandle, list[Answer]]] = []
        self.singles: list[tuple[Handle, Answer]] = []
        self.repeated = 0

    def bulk(self, count: int, size: int) -> None:
        """Submit texts in messages of a batch."""
        for start in range(0, count, size):
            self._keep_pace(start / count)
            self._submit(range(start, min(start + size, count)), names.BULK_QUEUE)

    def single(self, count: int) -> None:
        """Submit texts one by one, each a message."""
        for place in range(count):
            self._keep_pace(place / count)
            self._submit(range(place, place + 1), names.INTERACTIVE_QUEUE)

    def coalesced(self, count: int) -> None:
        """Submit texts one by one, that share messages."""
        for place in range(count):
            self._keep_pace(place / count)
            text, user, answer = self._job(place)
            self.singles.append((self._client.submit(text, user=user), answer))
            if place % 100 == 0:
                time.sleep(0.05)

    def _job(self, place: int) -> tuple[str, jobs.User | None, Answer]:
        """Give a text, whom it is for, and what is right: every third is for a user who gets the other tier."""
        text = TEXTS[place % len(TEXTS)]
        return (text, None, self._free[text]) if place % 3 else (text, PRO_USER, self._pro[text])

    def _submit(self, places: range, queue: str) -> None:
        texts, users, answers = zip(*map(self._job, places), strict=True)
        request = checked_request(texts, users, self.batch)
        message_id = new_id()
        while True:
            try:
                message = self._client.submit_message(request, message_id=message_id, queue=queue)
            except errors.RetryableError:
                self.repeated += 1
                time.sleep(0.2)
            else:
                self.messages.append((message, list(answers)))
                return

    def judge(self, stage: Stage, timeout_s: float) -> Verdict:
        """Wait for everything, and compare."""
        deadline = time.monotonic() + timeout_s
        verdict = Verdict(submissions_repeated=self.repeated, faults=dict(stage.done))
        served: Counter[str] = Counter()
        for message, answers in self.messages:
            verdict.texts += len(answers)
            served += _judge_message(verdict, message, answers, deadline)
        unclear: Counter[str] = Counter()
        for handle, answer in self.singles:
            verdict.texts += 1
            _judge_single(verdict, handle, answer, deadline, served=served, unclear=unclear)
        _judge_poison(verdict, stage, deadline)
        _judge_timed(verdict, stage, deadline, served)
        _wait_for_rest(verdict, stage, deadline)
        self._judge_batch(verdict)
        _judge_comparisons(verdict, stage, served, unclear)
        _judge_letters(verdict, stage)
        _judge_registry(verdict, stage.registry)
        if not verdict.is_clean:
            verdict.notes += stage.evidence()
        return verdict

    def _judge_batch(self, verdict: Verdict) -> None:
        counted = Counter(self._client.progress(self.batch))
        right = Counter(answer for _, answers in self.messages for answer in answers)
        verdict.progress_off = abs(counted.pop("done", 0) - right.total())
        verdict.counters_off = sum(abs(counted[name] - right[name]) for name in counted | right)


def _answers(registry: Registry, tier: str) -> dict[str, Answer]:
    """Classify with nothing in the way."""
    classifier = registry.load_classifier(tier, registry.champion(tier) or 1)
    intents = classifier.classify(TEXTS).intent
    return {text: f"{tier}:{intent}" for text, intent in zip(TEXTS, intents, strict=True)}


def _judge_message(
    verdict: Verdict, message: MessageHandle, answers: Sequence[Answer], deadline: float
) -> Counter[str]:
    """Compare a message's outcome with what is right, and count its texts by the tier that served them."""
    try:
        reply = message.result(max(0.1, deadline - time.monotonic()))
    except errors.ResultTimeoutError:
        verdict.lost += len(answers)
    except errors.PointsmanError as error:
        verdict.failed += len(answers)
        verdict.notes.append(f"{message.id} failed: {type(error).__name__} {error}")
    else:
        tiers = [reply.routes[route].tier for route in reply.route_of]
        found = [f"{tier}:{intent}" for tier, intent in zip(tiers, reply.intent, strict=True)]
        verdict.wrong += sum(one != right for one, right in zip(found, answers, strict=True))
        return Counter(tiers)
    return Counter()


def _judge_single(
    verdict: Verdict,
    handle: Handle,
    answer: Answer,
    deadline: float,
    *,
    served: Counter[str],
    unclear: Counter[str],
) -> None:
    try:
        outcome = handle.result(max(0.1, deadline - time.monotonic()))
    except errors.ResultTimeoutError:
        verdict.lost += 1
    except errors.RetryableError:
        # The client said so: nothing was promised.
        verdict.submissions_repeated += 1
        unclear[answer.partition(":")[0]] += 1
    except errors.PointsmanError as error:
        verdict.failed += 1
        verdict.notes.append(f"{handle.id} failed: {type(error).__name__} {error}")
    else:
        verdict.wrong += f"{outcome.tier}:{outcome.intent}" != answer
        served[outcome.tier] += 1


def _judge_poison(verdict: Verdict, stage: Stage, deadline: float) -> None:
    """Poison has one outcome, too."""
    for message in stage.poisoned:
        try:
            message.result(max(0.1, deadline - time.monotonic()))
        except errors.PoisonError:
            continue
        except errors.PointsmanError as error:
            verdict.notes.append(f"poison {message.id}: {type(error).__name__} {error}")
        verdict.wrong += 1
    starts = Counter(stage.starts_file.read_text().split()) if stage.starts_file.exists() else Counter()
    verdict.delivered_again = starts.total() - len(starts)
    allowed = MAX_ATTEMPTS
    verdict.poison_attempted_too_often = sum(starts[message.id] > allowed for message in stage.poisoned)


def _judge_timed(verdict: Verdict, stage: Stage, deadline: float, served: Counter[str]) -> None:
    """What expired was not run and has an outcome; what was for later was run; an id has one request."""
    with broker_config.make_app(stage.settings) as app:
        wanted = {**dict.fromkeys(stage.expired, "REVOKED"), **dict.fromkeys(stage.late, "SUCCESS")}
        for each, state in wanted.items():
            result = app.AsyncResult(each)
            result.get(timeout=max(0.1, deadline - time.monotonic()), propagate=False)
            if result.state != state:
                verdict.timed_off += 1
                verdict.notes.append(f"{each} is {result.state}, not {state}")
    verdict.ids_confused = len(stage.taken_for_another)
    for message in stage.reused:
        reply = message.result(max(0.1, deadline - time.monotonic()))
        verdict.ids_confused += reply.intent != ["greeting"]
    served["base"] += len(stage.late) + len(stage.reused)


def _wait_for_rest(verdict: Verdict, stage: Stage, deadline: float) -> None:
    """Wait for what no client waits for: shadows, trainings."""
    keys = stage.keys
    stage.deployment.stop_beat()
    with stage.redis.client() as redis:
        while True:
            verdict.left_open = int(redis.zcard(keys.open_index))
            verdict.left_queued = sum(int(redis.llen(queue)) for queue in stage.queues)
            taken = (keys.unacked, keys.train_unacked)
            verdict.left_unacked = sum(int(redis.hlen(key)) for key in taken)
            left_in_shadow = int(redis.zcard(keys.shadow_waiting))
            if not (verdict.left_open or verdict.left_queued or verdict.left_unacked or left_in_shadow):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        verdict.republished = int(redis.hget(keys.stats, "republished") or 0)


def _judge_comparisons(verdict: Verdict, stage: Stage, served: Counter[str], unclear: Counter[str]) -> None:
    """Compare every pair's total with the texts that were served, all of which were to be shadowed."""
    rows = {(row["served"], row["candidate"]): row for row in stage.client.shadow.pairs(timeout_s=60)}
    for tier, other in (("base", "pro"), ("pro", "base")):
        champion = names.version_name(tier, stage.registry.champion(tier) or 0)
        rivals = [names.version_name(other, stage.registry.champion(other) or 0)]
        if (candidate := stage.registry.aliases(tier).candidate) is not None:
            rivals.append(names.version_name(tier, candidate))
        for rival in rivals:
            row = rows.pop((champion, rival), {"texts": 0, "missed": 0})
            verdict.compared += row["texts"]
            verdict.shed += row["missed"]
            over = row["texts"] + row["missed"] - served[tier]
            if not 0 <= over <= unclear[tier]:
                verdict.comparisons_off += abs(over)
                verdict.notes.append(f"{champion} vs {rival}: {row} for {served[tier]} served")
        _judge_third_tier(verdict, rows, champion, served[tier] + unclear[tier])
    for pair, row in rows.items():
        verdict.comparisons_off += row["texts"] + row["missed"]
        verdict.notes.append(f"{pair}: {row} for nothing served")


def _judge_third_tier(verdict: Verdict, rows: dict[Any, Any], champion: str, most: int) -> None:
    """Take out the comparisons with the tier that is trained all the time: a text has one at most."""
    found = [pair for pair in rows if pair[0] == champion and pair[1].startswith(f"{TRAINED_TIER}@")]
    texts = sum(row["texts"] + row["missed"] for row in map(rows.pop, found))
    if texts > most:
        verdict.comparisons_off += texts - most
        verdict.notes.append(f"{champion} vs {TRAINED_TIER}: {texts} for at most {most} served")


def _judge_letters(verdict: Verdict, stage: Stage) -> None:
    """Compare the dead letters with what had to become one."""
    letters = list(open_letters(stage.settings).find())
    verdict.letters = len(letters)
    poison = {message.id for message in stage.poisoned}
    died = {letter.id for letter in letters if letter.reason == dead_letters.POISON}
    malformed = sum(letter.reason == dead_letters.MALFORMED for letter in letters)
    unexpected = [
        letter
        for letter in letters
        if (not stage.garbage if letter.reason == dead_letters.MALFORMED else letter.id not in poison)
    ]
    verdict.unexpected_letters = len(unexpected)
    verdict.notes += [
        f"letter {one.id} {one.reason} {one.detail} attempts {one.attempts}" for one in unexpected
    ]
    verdict.missing_letters = len(poison - died)
    if not KILLS & stage.done.keys():
        verdict.missing_letters += abs(len(stage.garbage) - malformed)


def _judge_registry(verdict: Verdict, registry: Registry) -> None:
    """Load every version, and look for aliases and a history that name others."""
    for tier in ("base", "pro", TRAINED_TIER):
        versions = registry.versions(tier)
        aliases = registry.aliases(tier)
        history = registry.history(tier)
        problems = [
            f"{tier} has no {one}" for one in {aliases.champion, aliases.candidate} - {None, *versions}
        ]
        if history and history[-1].aliases != aliases:
            problems.append(f"{tier}: the aliases are not those of the last change")
        for version in versions:
            try:
                registry.load_classifier(tier, version).classify(TEXTS)
            except errors.PointsmanError as error:
                problems.append(f"{tier}@{version}: {error}")
        verdict.registry_broken += len(problems)
        verdict.notes += problems
    verdict.trained = sum(entry.what == "champion" for entry in registry.history(TRAINED_TIER))
