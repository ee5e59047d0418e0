"""Answering questions about comparisons, and taking labels."""

import time
from typing import Any

from pointsman_models.comparison import counts
from pointsman_models.comparison import labels as labelling
from pointsman_models.comparison import report as comparison_report
from pointsman_shared import errors, names
from pointsman_shared.wire import shadow as wire
from pointsman_shared.wire import shadow_report
from pointsman_workers.shadow.candidates import Candidates
from pointsman_workers.shadow.store import KINDS, Comparisons, Row

SHOWN = 200


class Reports:
    """What a process can say of the comparisons."""

    def __init__(self, store: Comparisons, candidates: Candidates) -> None:
        self._store = store
        self._candidates = candidates

    def answer(self, query: wire.Query) -> Any:  # noqa: ANN401  each action's own JSON
        """Answer a query.

        Raises:
            InvalidMessageError: The query lacks what its action needs.
            StoreUnavailableError: Redis cannot be reached.
        """
        if query.action == "pairs":
            return self._pairs()
        if query.action == "label":
            return self._label(query.labels)
        if query.action == "labels":
            return self._labels(query)
        served, candidate = _both(query)
        if query.action == "answers":
            return _of_answers(query, served, candidate).model_dump(mode="json")
        if query.action == "label_queue":
            return self._label_queue(names.pair_name(served, candidate), query.limit)
        return self._report(query, served, candidate).model_dump(mode="json")

    def classify(self, request: wire.CompareRequest) -> dict[str, Any]:
        """Give texts to two versions, and their answers as a `wire.Answers`."""
        sides = {}
        for side, name in (("served", request.served), ("candidate", request.candidate)):
            classifier = self._candidates.classifier(*wire.parse_version(name))
            started = time.perf_counter()
            answers = classifier.classify(request.texts)
            sides[side] = {
                "intent": answers.intent,
                "confidence": answers.confidence,
                "inference_ms": (time.perf_counter() - started) * 1000,
            }
        return sides

    def _pairs(self) -> list[Row]:
        rows = []
        for pair, last_at in self._store.pairs().items():
            served, _, candidate = pair.partition(" vs ")
            found = counts.Comparison.from_fields(self._store.fields(pair))
            missed = sum(found.missed("shed").values()) + sum(found.missed("failed").values())
            rows.append(
                {
                    "served": served,
                    "candidate": candidate,
                    "texts": found.texts,
                    "agreed": found.agreed,
                    "missed": missed,
                    "last_at": last_at,
                }
            )
        return rows

    def _label(self, given: list[wire.Label]) -> dict[str, Any]:
        known: Row = {}
        for pair in self._store.pairs():
            known |= self._store.rows(pair)
        rejected = []
        for label in given:
            try:
                names.parse_job_id(label.job_id)
            except ValueError as error:
                rejected.append({"job_id": label.job_id, "reason": str(error)})
                continue
            row = known.get(label.job_id, {})
            self._store.label(
                label.job_id,
                {
                    "text": row.get("text"),
                    "intent": label.intent,
                    "tier": row.get("tier"),
                    "at": time.time(),
                    "by": label.by,
                },
            )
        return {"accepted": len(given) - len(rejected), "rejected": rejected}

    def _labels(self, query: wire.Query) -> list[Row]:
        pair = names.pair_name(*_both(query)) if query.served or query.candidate else None
        rows = self._store.rows(pair) if pair else {}
        drawn = self._store.drawn(pair) if pair else set()
        found = []
        for job, label in self._store.labels().items():
            entry = {
                "job_id": job,
                "label": label["intent"],
                "by": label["by"],
                "labelled_at": label["at"],
                "text": label["text"],
                "tier": label["tier"],
            }
            if pair is None:
                found.append(entry)
            elif job in rows:
                answers = {name: rows[job][name] for name in ("served", "candidate")}
                found.append({**entry, **answers, "drawn": job in drawn})
        return found

    def _label_queue(self, pair: str, limit: int) -> list[Row]:
        """Draw texts to label: disagreements first, then agreements, each kind in its random order."""
        found = counts.Comparison.from_fields(self._store.fields(pair))
        rows, labels, drawn = self._store.rows(pair), self._store.labels(), self._store.drawn(pair)
        wanted: list[Row] = []
        for kind in KINDS:
            sampled = self._store.sample(pair, kind)
            texts = found.agreed if kind == "agreements" else found.texts - found.agreed
            probability = min(1.0, len(sampled) / texts) if texts else 1.0
            wanted += [
                {
                    "job_id": job,
                    "agreed": kind == "agreements",
                    "probability": probability,
                    **{name: rows[job][name] for name in ("text", "served", "candidate")},
                }
                for job, _ in sampled
                # Somebody's correction is no draw: such a text is still asked for.
                if job in rows and not (job in labels and job in drawn)
            ]
        wanted = wanted[:limit]
        self._store.hand_out(pair, [row["job_id"] for row in wanted])
        return wanted

    def _report(self, query: wire.Query, served: str, candidate: str) -> shadow_report.ShadowReport:
        pair = names.pair_name(served, candidate)
        found = counts.Comparison.from_fields(self._store.fields(pair))
        if not found.counts:
            known = ", ".join(self._store.pairs()) or "none yet"
            msg = f"nothing was compared of {pair}; there are: {known}"
            raise errors.InvalidDataError(msg)
        rows, labels, drawn = self._store.rows(pair), self._store.labels(), self._store.drawn(pair)
        share = {
            agreed: len(self._store.sample(pair, kind)) / max(1, texts)
            for agreed, kind, texts in (
                (False, KINDS[0], found.texts - found.agreed),
                (True, KINDS[1], found.agreed),
            )
        }
        pairs = []
        for job, label in labels.items():
            if (row := rows.get(job)) is None:
                continue
            probability = min(1.0, share[row["served"] == row["candidate"]])
            pairs.append(
                labelling.LabelledPair(
                    served=row["served"],
                    candidate=row["candidate"],
                    label=label["intent"],
                    probability=probability if job in drawn and probability else None,
                    labelled_at=label["at"],
                )
            )
        disagreements = [
            shadow_report.Disagreement(
                job_id=job,
                label=labels[job]["intent"] if job in labels else None,
                **{name: rows[job][name] for name in rows[job] if name != "tier"},
            )
            for job, _ in self._store.sample(pair, "disagreements", SHOWN)
            if job in rows
        ]
        return comparison_report.build(
            found,
            served=served,
            candidate=candidate,
            pairs=pairs,
            disagreements=disagreements,
            alpha=query.alpha,
            margin=query.margin,
        )


def _both(query: wire.Query) -> tuple[str, str]:
    if query.served is None or query.candidate is None:
        msg = f"{query.action} needs a served and a candidate version"
        raise errors.InvalidMessageError(msg)
    return query.served, query.candidate


def _of_answers(query: wire.Query, served: str, candidate: str) -> shadow_report.ShadowReport:
    """Report on a file's texts, which are nobody's and are counted nowhere."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    found = counts.Comparison()
    before: list[str] = []
    after: list[str] = []
    labels: list[str | None] = []
    texts: list[str | None] = []
    try:
        for part in query.parts:
            sides = [counts.Answered(**side.model_dump()) for side in (part.served, part.candidate)]
            found += counts.observe(sides[0], sides[1], day=day)
            before += part.served.intent
            after += part.candidate.intent
            nothing = [None] * len(part.served.intent)
            labels += part.labels or nothing
            texts += part.texts or nothing
        rows = list(zip(before, after, labels, texts, strict=True))
    except ValueError as error:
        msg = f"the answers are not columns of one length: {error}"
        raise errors.InvalidMessageError(msg) from error
    known = [(one, other, label) for one, other, label, _ in rows if label is not None]
    return comparison_report.build(
        found,
        served=served,
        candidate=candidate,
        pairs=labelling.of_file(
            counts.Answered(intent=[one for one, _, _ in known]),
            counts.Answered(intent=[other for _, other, _ in known]),
            [label for _, _, label in known],
        ),
        disagreements=[
            shadow_report.Disagreement(
                job_id=str(place + 1), text=text, served=one, candidate=other, label=label
            )
            for place, (one, other, label, text) in enumerate(rows)
            if one != other
        ][:SHOWN],
        alpha=query.alpha,
        margin=query.margin,
    )
