"""Ask how a candidate compares with the version that serves, and label texts with the right intents."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypedDict, Unpack

from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.client.stream import TEXTS_PER_MESSAGE
from pointsman_shared import errors, names
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import shadow as wire
from pointsman_shared.wire.shadow_report import ShadowReport

TIMEOUT_S = 30.0
COMPARE_TIMEOUT_S = 300.0
# The most messages of a file in flight.
WINDOW = 16
POLL_S = 0.2

Row = dict[str, Any]
Ask = Callable[[str, dict[str, Any], str, str], TaskHandle[Any]]


class Limits(TypedDict, total=False):
    """The error rate of a report's verdict, by default 5%, and how much accuracy `no worse` may lose, by default 1%."""

    alpha: float
    margin: float


class ShadowClient:
    """The shadow's side of a client; see `Client.shadow`. `ask` sends a task's payload to a queue, with a summary."""

    def __init__(self, ask: Ask, store: Store) -> None:
        self._ask = ask
        self._store = store

    def pairs(self, *, timeout_s: float = TIMEOUT_S) -> list[Row]:
        """List the compared pairs, the latest first: `served`, `candidate`, `texts`, `agreed`, `missed`, `last_at`."""
        found: list[Row] = self._query("pairs", timeout_s)
        return found

    def report(
        self, served: str, candidate: str, *, timeout_s: float = TIMEOUT_S, **limits: Unpack[Limits]
    ) -> ShadowReport:
        """Report on a pair of versions, as `pro@7`; raise InvalidDataError if it was not compared."""
        answer = self._query("report", timeout_s, served=served, candidate=candidate, **limits)
        return ShadowReport.parse(answer)

    def label(self, job_id: str, intent: str, by: str = "anonymous", *, timeout_s: float = TIMEOUT_S) -> None:
        """Label a job with its right intent; a second label corrects the first."""
        done = self.label_many([{"job_id": job_id, "label": intent, "by": by}], timeout_s=timeout_s)
        for refused in done["rejected"]:
            raise errors.InvalidMessageError(refused["reason"])

    def label_many(self, labels: Sequence[Row], *, timeout_s: float = TIMEOUT_S) -> Row:
        """Submit many labels, each with `job_id`, `label` and perhaps `by`.

        Returns the number of those `accepted`, and the `job_id` and `reason` of each of those `rejected`.
        """
        given = [
            {"job_id": row["job_id"], "intent": row["label"], "by": row.get("by") or "anonymous"}
            for row in labels
        ]
        done: Row = self._query("label", timeout_s, labels=given)
        return done

    def labels(
        self, served: str | None = None, candidate: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> list[Row]:
        """Return the labels in the order of their arrival; those of one pair come with both answers."""
        found: list[Row] = self._query("labels", timeout_s, served=served, candidate=candidate)
        return found

    def label_queue(
        self, served: str, candidate: str, *, limit: int = 100, timeout_s: float = TIMEOUT_S
    ) -> list[Row]:
        """Draw texts to label: disagreements first, each kind with equal probability and in random order.

        Only the labels of texts that were drawn here are evidence.
        """
        found: list[Row] = self._query(
            "label_queue", timeout_s, served=served, candidate=candidate, limit=limit
        )
        return found

    def compare(
        self,
        served: str,
        candidate: str,
        texts: Sequence[str],
        labels: Sequence[str | None] | None = None,
        *,
        timeout_s: float = COMPARE_TIMEOUT_S,
        **limits: Unpack[Limits],
    ) -> ShadowReport:
        """Classify texts with two versions, and report. Nothing is stored."""
        if labels is not None and len(labels) != len(texts):
            msg = f"{len(labels)} labels were given for {len(texts)} texts"
            raise errors.InvalidMessageError(msg)
        deadline = time.monotonic() + timeout_s
        slices = [slice(at, at + TEXTS_PER_MESSAGE) for at in range(0, len(texts), TEXTS_PER_MESSAGE)]
        handles = (self._compare(served, candidate, list(texts[each])) for each in slices)
        # The next message is sent when the oldest was answered.
        waiting = deque(islice(handles, WINDOW))
        parts: list[Row] = []
        for each in slices:
            answers = waiting.popleft().result(max(0.0, deadline - time.monotonic()))
            waiting.extend(islice(handles, 1))
            part_labels = list(labels[each]) if labels is not None else None
            shown = _where_they_differ(answers, texts[each])
            parts.append({**answers, "labels": part_labels, "texts": shown})
        left_s = max(1.0, deadline - time.monotonic())
        return self._report_on(parts, left_s, served=served, candidate=candidate, **limits)

    def _compare(self, served: str, candidate: str, texts: list[str]) -> TaskHandle[Row]:
        payload = {"served": served, "candidate": candidate, "texts": texts}
        wire.CompareRequest.parse(payload)
        summary = f"{len(texts)} texts, {names.pair_name(served, candidate)}"
        return self._ask(names.SHADOW_COMPARE_TASK, payload, names.BULK_QUEUE, summary)

    def compare_predictions(
        self,
        served: str,
        candidate: str,
        answers: wire.Answers,
        *,
        timeout_s: float = COMPARE_TIMEOUT_S,
        **limits: Unpack[Limits],
    ) -> ShadowReport:
        """Report on the answers of two other models, under any names."""
        parts = [answers.model_dump()]
        return self._report_on(parts, timeout_s, served=served, candidate=candidate, **limits)

    def drained(self) -> bool:
        """Tell whether all served texts that are to be shadowed are counted."""
        return not self._store.zcard(self._store.keys.shadow_waiting)

    def wait_drained(self, timeout_s: float = 60.0) -> bool:
        """Wait until all served texts that are to be shadowed are counted; return False at the timeout."""
        deadline = time.monotonic() + timeout_s
        while not (drained := self.drained()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return drained

    def _report_on(self, parts: list[Row], timeout_s: float, **fields: str | float) -> ShadowReport:
        return ShadowReport.parse(self._query("answers", timeout_s, parts=parts, **fields))

    def _query(self, action: str, timeout_s: float, **fields: Any) -> Any:  # noqa: ANN401  each action's own JSON
        query = {"action": action, **fields}
        wire.Query.parse(query)
        handle = self._ask(names.SHADOW_QUERY_TASK, query, names.INTERACTIVE_QUEUE, action)
        return handle.result(timeout_s)


def _where_they_differ(answers: Row, texts: Sequence[str]) -> list[str | None]:
    """Keep the texts that a report shows: those with different answers."""
    both = zip(answers["served"]["intent"], answers["candidate"]["intent"], texts, strict=True)
    return [None if one == other else text for one, other, text in both]
