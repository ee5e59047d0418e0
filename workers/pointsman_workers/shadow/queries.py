"""Answering questions about comparisons, and storing labels."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pointsman_models.comparison import counts
from pointsman_models.data.tiers import Tier
from pointsman_shared import errors, names
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import shadow as wire
from pointsman_workers.shadow.pair_view import PairView
from pointsman_workers.shadow.store import Comparisons, Row


class Queries:
    """What can be asked about the comparisons."""

    def __init__(
        self, comparisons: Comparisons, labels: Labels, tiers: Callable[[], Mapping[str, Tier]]
    ) -> None:
        self._comparisons = comparisons
        self._labels = labels
        self._tiers = tiers

    def answer(self, query: wire.Query) -> Any:  # noqa: ANN401  each action's own JSON
        """Answer a query."""
        if query.action == "pairs":
            return self._pairs()
        if query.action == "label":
            return self._label(query.labels)
        if query.action == "labels":
            return self._labelled(query)
        served, candidate = _both(query)
        if query.action == "answers":
            view = PairView.of_answers(query.parts, served, candidate)
            return view.report(alpha=query.alpha, margin=query.margin).model_dump(mode="json")
        view = PairView.load(self._comparisons, self._labels, served, candidate)
        if query.action == "label_queue":
            wanted = view.to_label(query.limit)
            pair = names.pair_name(served, candidate)
            self._comparisons.hand_out(pair, [row["job_id"] for row in wanted])
            return wanted
        return self._report(query, view)

    def _report(self, query: wire.Query, view: PairView) -> Row:
        if not view.found.counts:
            known = ", ".join(self._comparisons.pairs()) or "none yet"
            pair = names.pair_name(view.served, view.candidate)
            msg = f"nothing was compared of {pair}; there are: {known}"
            raise errors.InvalidDataError(msg)
        return view.report(alpha=query.alpha, margin=query.margin).model_dump(mode="json")

    def _pairs(self) -> list[Row]:
        rows = []
        for pair, last_at in self._comparisons.pairs().items():
            served, _, candidate = pair.partition(" vs ")
            found = counts.Comparison.from_fields(self._comparisons.fields(pair))
            missed = sum(found.missed("shed").values()) + sum(found.missed("failed").values())
            row = {"served": served, "candidate": candidate, "texts": found.texts, "agreed": found.agreed}
            rows.append({**row, "missed": missed, "last_at": last_at})
        return rows

    def _label(self, given: list[wire.Label]) -> dict[str, Any]:
        known = self._comparisons.rows_of([label.job_id for label in given])
        rejected = []
        for label in given:
            row = known.get(label.job_id, {})
            if (problem := self._problem(label, row)) is not None:
                rejected.append({"job_id": label.job_id, "reason": problem})
                continue
            facts = {"text": row.get("text"), "intent": label.intent, "tier": row.get("tier")}
            self._labels.add(label.job_id, {**facts, "by": label.by})
        return {"accepted": len(given) - len(rejected), "rejected": rejected}

    def _problem(self, label: wire.Label, row: Row) -> str | None:
        """Return why a label cannot be that of a job, or None."""
        try:
            message_id, place = names.parse_job_id(label.job_id)
        except ValueError as error:
            return str(error)
        # Those of all tiers: what is out of scope for one may be an intent of another.
        intents = {intent for tier in self._tiers().values() for intent in tier.intents} | {
            names.OUT_OF_SCOPE
        }
        if label.intent not in intents:
            close = difflib.get_close_matches(label.intent, sorted(intents), n=1)
            return f"there is no intent {label.intent!r}{f'; did you mean {close[0]!r}?' if close else ''}"
        if not row and place >= self._comparisons.texts_of(message_id):
            return "there is no such job, or its outcome has expired"
        return None

    def _labelled(self, query: wire.Query) -> list[Row]:
        view = None
        if query.served or query.candidate:
            view = PairView.load(self._comparisons, self._labels, *_both(query))
        found = []
        for job, label in (view.labels if view else self._labels.all()).items():
            entry = {"job_id": job, "label": label["intent"], "by": label["by"], "labelled_at": label["at"]}
            entry |= {"text": label["text"], "tier": label["tier"]}
            if view is None:
                found.append(entry)
            else:
                answers = {name: view.rows[job][name] for name in ("served", "candidate")}
                found.append({**entry, **answers, "drawn": job in view.drawn})
        return found


def _both(query: wire.Query) -> tuple[str, str]:
    if query.served is None or query.candidate is None:
        msg = f"{query.action} needs a served and a candidate version"
        raise errors.InvalidMessageError(msg)
    return query.served, query.candidate
