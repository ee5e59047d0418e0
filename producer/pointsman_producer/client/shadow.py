"""Asking how a candidate compares with what serves, and saying what the right answers are."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from pointsman_producer.client.handles import TaskHandle
from pointsman_shared import errors, names
from pointsman_shared.store import keys
from pointsman_shared.wire import shadow as wire
from pointsman_shared.wire import shadow_report

TIMEOUT_S = 30.0
COMPARE_TIMEOUT_S = 300.0
TEXTS_PER_MESSAGE = 500
# So many messages of a file are under way at once.
WINDOW = 16
POLL_S = 0.2

Row = dict[str, Any]
Ask = Callable[[str, dict[str, Any], str, str], TaskHandle[Any]]


class ShadowClient:
    """The shadow's side of a client; see `Client.shadow`.

    Args:
        ask: Sends a task with its payload to a queue, with a summary for logs.
        redis: Where the served texts wait.
    """

    def __init__(self, ask: Ask, redis: Redis) -> None:
        self._ask = ask
        self._redis = redis

    def pairs(self, *, timeout_s: float = TIMEOUT_S) -> list[Row]:
        """List the compared pairs, the latest first: `served`, `candidate`, `texts`, `agreed`, `missed`, `last_at`."""
        found: list[Row] = self._query({"action": "pairs"}, timeout_s)
        return found

    def report(
        self,
        served: str,
        candidate: str,
        *,
        alpha: float = 0.05,
        margin: float = 0.01,
        timeout_s: float = TIMEOUT_S,
    ) -> shadow_report.ShadowReport:
        """Report on a pair of versions.

        Args:
            served: What served, as `pro@7`.
            candidate: What would have.
            alpha: The verdict's error rate.
            margin: How much accuracy `no worse` may lose.
            timeout_s: How long to wait.

        Raises:
            InvalidDataError: Nothing was compared of this pair.
            ResultTimeoutError: No worker answered in time.
        """
        query = {
            "action": "report",
            "served": served,
            "candidate": candidate,
            "alpha": alpha,
            "margin": margin,
        }
        return shadow_report.ShadowReport.parse(self._query(query, timeout_s))

    def label(self, job_id: str, intent: str, by: str = "anonymous", *, timeout_s: float = TIMEOUT_S) -> None:
        """Say what the right intent of a job is; a second label corrects the first.

        Raises:
            InvalidMessageError: The text is no job id.
        """
        done = self.label_many([{"job_id": job_id, "label": intent, "by": by}], timeout_s=timeout_s)
        for refused in done["rejected"]:
            raise errors.InvalidMessageError(refused["reason"])

    def label_many(self, labels: Sequence[Row], *, timeout_s: float = TIMEOUT_S) -> Row:
        """Take many labels: `job_id`, `label` and perhaps `by` each.

        Returns:
            `accepted`, a number, and `rejected`, with `job_id` and `reason` each.
        """
        given = [
            {"job_id": row["job_id"], "intent": row["label"], "by": row.get("by") or "anonymous"}
            for row in labels
        ]
        done: Row = self._query({"action": "label", "labels": given}, timeout_s)
        return done

    def labels(
        self, served: str | None = None, candidate: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> list[Row]:
        """Give the labels in the order in which they arrived; of one pair, with both answers."""
        query = {"action": "labels", "served": served, "candidate": candidate}
        found: list[Row] = self._query(query, timeout_s)
        return found

    def label_queue(
        self, served: str, candidate: str, *, limit: int = 100, timeout_s: float = TIMEOUT_S
    ) -> list[Row]:
        """Draw texts to label: disagreements first, each kind with equal probability and in a random order.

        Labels of texts that were drawn here are evidence; those of others are not.
        """
        query = {"action": "label_queue", "served": served, "candidate": candidate, "limit": limit}
        found: list[Row] = self._query(query, timeout_s)
        return found

    def compare(
        self,
        served: str,
        candidate: str,
        texts: Sequence[str],
        labels: Sequence[str | None] | None = None,
        *,
        alpha: float = 0.05,
        margin: float = 0.01,
        timeout_s: float = COMPARE_TIMEOUT_S,
    ) -> shadow_report.ShadowReport:
        """Have workers give texts to two versions, and report. Nothing of it is kept."""
        _check_length(labels, texts)
        deadline = time.monotonic() + timeout_s
        starts = range(0, len(texts), TEXTS_PER_MESSAGE)
        waiting: list[tuple[int, TaskHandle[Any]]] = []
        parts: list[Row] = []

        def take() -> None:
            start, handle = waiting.pop(0)
            chunk = slice(start, start + TEXTS_PER_MESSAGE)
            answers: Row = handle.result(max(0.0, deadline - time.monotonic()))
            part_labels = list(labels[chunk]) if labels is not None else None
            parts.append(
                {**answers, "labels": part_labels, "texts": _where_they_differ(answers, texts[chunk])}
            )

        for start in starts:
            chunk = list(texts[start : start + TEXTS_PER_MESSAGE])
            payload = {"served": served, "candidate": candidate, "texts": chunk}
            wire.CompareRequest.parse(payload)
            summary = f"{len(chunk)} texts, {names.pair_name(served, candidate)}"
            handle = self._ask(names.SHADOW_COMPARE_TASK, payload, names.BULK_QUEUE, summary)
            waiting.append((start, handle))
            if len(waiting) >= WINDOW:
                take()
        while waiting:
            take()
        left = max(1.0, deadline - time.monotonic())
        return self._of_parts(parts, served, candidate, alpha=alpha, margin=margin, timeout_s=left)

    def compare_predictions(
        self,
        *,
        served: str,
        candidate: str,
        served_intents: Sequence[str],
        candidate_intents: Sequence[str],
        served_confidence: Sequence[float] | None = None,
        candidate_confidence: Sequence[float] | None = None,
        labels: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
        alpha: float = 0.05,
        margin: float = 0.01,
        timeout_s: float = COMPARE_TIMEOUT_S,
    ) -> shadow_report.ShadowReport:
        """Report on answers that two models gave elsewhere. The names are whatever the models are called."""
        for column in (candidate_intents, served_confidence, candidate_confidence, labels, texts):
            _check_length(column, served_intents)
        part = {
            "served": {"intent": list(served_intents), "confidence": _listed(served_confidence)},
            "candidate": {"intent": list(candidate_intents), "confidence": _listed(candidate_confidence)},
            "labels": _listed(labels),
            "texts": _listed(texts),
        }
        return self._of_parts([part], served, candidate, alpha=alpha, margin=margin, timeout_s=timeout_s)

    def drained(self) -> bool:
        """Say whether all texts that were served and are to be shadowed are counted.

        Raises:
            BrokerUnavailableError: Redis cannot be reached.
        """
        try:
            return not self._redis.zcard(keys.SHADOW_WAITING)
        except RedisError as error:
            msg = f"Redis cannot be reached: {error}"
            raise errors.BrokerUnavailableError(msg) from error

    def wait_drained(self, timeout_s: float = 60.0) -> bool:
        """Wait until all served texts that are to be shadowed are counted, and say whether they were in time."""
        deadline = time.monotonic() + timeout_s
        while not (drained := self.drained()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return drained

    def _of_parts(
        self,
        parts: Sequence[Row],
        served: str,
        candidate: str,
        *,
        alpha: float,
        margin: float,
        timeout_s: float,
    ) -> shadow_report.ShadowReport:
        query = {
            "action": "answers",
            "served": served,
            "candidate": candidate,
            "alpha": alpha,
            "margin": margin,
            "parts": list(parts),
        }
        return shadow_report.ShadowReport.parse(self._query(query, timeout_s))

    def _query(self, query: Row, timeout_s: float) -> Any:  # noqa: ANN401  each action's own JSON
        wire.Query.parse(query)
        handle = self._ask(names.SHADOW_QUERY_TASK, query, names.INTERACTIVE_QUEUE, str(query["action"]))
        return handle.result(timeout_s)


def _listed(column: Sequence[Any] | None) -> list[Any] | None:
    return None if column is None else list(column)


def _where_they_differ(answers: Row, texts: Sequence[str]) -> list[str | None]:
    """Leave out the texts that no report shows."""
    both = zip(answers["served"]["intent"], answers["candidate"]["intent"], texts, strict=True)
    return [None if one == other else text for one, other, text in both]


def _check_length(column: Sequence[Any] | None, texts: Sequence[Any]) -> None:
    if column is not None and len(column) != len(texts):
        msg = f"a column has {len(column)} entries for {len(texts)} texts"
        raise errors.InvalidMessageError(msg)
