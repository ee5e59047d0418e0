"""Everything that is known of a pair of versions, read once: from the store, or from the answers in a file."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from pointsman_models.comparison import counts
from pointsman_models.comparison import labels as labelling
from pointsman_shared import errors, names
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import shadow, shadow_report
from pointsman_workers.shadow.store import KINDS, Comparisons, Kind, Row

SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """A pair of versions.

    Attributes:
        served: The served version, as `pro@7`.
        candidate: The other one.
        found: What was counted.
        rows: What is known of each sampled or labelled text, by job.
        samples: The sampled jobs of each kind, in a random order.
        labels: The labels of these texts, by job, in the order in which they arrived.
        drawn: The jobs that were drawn to be labelled.
    """

    served: str
    candidate: str
    found: counts.Comparison
    rows: Mapping[str, Row] = field(default_factory=dict)
    samples: Mapping[Kind, Sequence[str]] = field(default_factory=dict)
    labels: Mapping[str, Row] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()

    @classmethod
    def load(cls, comparisons: Comparisons, labels: Labels, served: str, candidate: str) -> Self:
        """Read a pair from the store."""
        pair = names.pair_name(served, candidate)
        rows = comparisons.rows(pair)
        return cls(
            served=served,
            candidate=candidate,
            found=counts.Comparison.from_fields(comparisons.fields(pair)),
            rows=rows,
            samples={kind: comparisons.sample(pair, kind) for kind in KINDS},
            labels=labels.of(rows),
            drawn=frozenset(comparisons.drawn(pair)),
        )

    @classmethod
    def of_answers(cls, parts: Sequence[shadow.Answers], served: str, candidate: str) -> Self:
        """Make the view of a file's texts; all of them count as drawn."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        found, rows, labelled = counts.Comparison(), dict[str, Row](), dict[str, Row]()
        try:
            for part in parts:
                sides = [counts.Answered(**side.model_dump()) for side in (part.served, part.candidate)]
                found += counts.observe(sides[0], sides[1], day=day)
                nothing: list[None] = [None] * len(part.served.intent)
                columns = (
                    part.served.intent,
                    part.candidate.intent,
                    part.labels or nothing,
                    part.texts or nothing,
                )
                for before, after, label, text in zip(*columns, strict=True):
                    job = str(len(rows) + 1)
                    rows[job] = {"text": text, "served": before, "candidate": after}
                    if label is not None:
                        labelled[job] = {"intent": label, "at": None}
        except ValueError as error:
            msg = f"the answers are not columns of one length: {error}"
            raise errors.InvalidMessageError(msg) from error
        return cls(
            served=served,
            candidate=candidate,
            found=found,
            rows=rows,
            samples={
                "disagreements": [job for job, row in rows.items() if row["served"] != row["candidate"]]
            },
            labels=labelled,
            drawn=frozenset(rows),
        )

    @property
    def is_file(self) -> bool:
        """Whether every text of the comparison is at hand, as in a file."""
        return len(self.rows) == self.found.texts and "agreements" not in self.samples

    def probability(self, kind: Kind) -> float:
        """Return the probability with which a text of a kind is drawn: the sampled share of all such texts."""
        if self.is_file:
            return 1.0
        agreed = self.found.agreed
        texts = agreed if kind == "agreements" else self.found.texts - agreed
        return min(1.0, len(self.samples[kind]) / texts) if texts else 1.0

    def labelled(self) -> list[labelling.LabelledPair]:
        """Return the labelled texts in the order in which the labels arrived; those of a file in a random order."""
        pairs = [
            labelling.LabelledPair(
                served=self.rows[job]["served"],
                candidate=self.rows[job]["candidate"],
                label=label["intent"],
                probability=self._drawn_with(job),
                labelled_at=label["at"],
            )
            for job, label in self.labels.items()
        ]
        return labelling.shuffled(pairs) if self.is_file else pairs

    def disagreements(self) -> list[shadow_report.Disagreement]:
        """Return a fair sample of the texts on which the versions disagree."""
        return [
            shadow_report.Disagreement(
                job_id=job,
                label=self.labels[job]["intent"] if job in self.labels else None,
                **{name: value for name, value in self.rows[job].items() if name != "tier"},
            )
            for job in self.samples["disagreements"][:SHOWN]
            if job in self.rows
        ]

    def to_label(self, limit: int) -> list[Row]:
        """Draw texts to label: disagreements first, then agreements, each kind in its random order."""
        wanted = [
            {
                "job_id": job,
                "agreed": kind == "agreements",
                "probability": self.probability(kind),
                **{name: self.rows[job][name] for name in ("text", "served", "candidate")},
            }
            for kind in KINDS
            for job in self.samples[kind]
            # A user's correction is not a draw: such a text is still asked for.
            if job in self.rows and not (job in self.labels and job in self.drawn)
        ]
        return wanted[:limit]

    def report(self, *, alpha: float, margin: float) -> shadow_report.ShadowReport:
        """Compute the report."""
        from pointsman_models.comparison import report as comparison_report  # noqa: PLC0415  few workers are asked, and it imports much of scipy

        return comparison_report.build(
            self.found,
            served=self.served,
            candidate=self.candidate,
            pairs=self.labelled(),
            disagreements=self.disagreements(),
            alpha=alpha,
            margin=margin,
        )

    def _drawn_with(self, job: str) -> float | None:
        if job not in self.drawn:
            return None
        row = self.rows[job]
        return self.probability(KINDS[row["served"] == row["candidate"]]) or None
