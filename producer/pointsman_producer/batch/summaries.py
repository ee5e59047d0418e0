"""The sums of a batch: one summary per conversation, and counts over all of it.

Both take the outcomes column by column as they arrive in order, so nothing is read twice and only one conversation
is in memory.
"""

from collections import Counter
from collections.abc import Iterable

from pointsman_producer.files.tables import Write
from pointsman_producer.transcripts.reader import Conversation
from pointsman_shared import names


def primary_intent(intents: Iterable[str]) -> str:
    """Choose the most frequent intent in scope, the earliest of equals; `out_of_scope` if there is none."""
    in_scope = Counter(intent for intent in intents if intent != names.OUT_OF_SCOPE)
    # max returns the first of equals, and a Counter keeps the order of arrival.
    return max(in_scope, key=in_scope.__getitem__, default=names.OUT_OF_SCOPE)


class Summariser:
    """Turns the outcomes into conversation summaries; `write` gets each one at the end of its conversation."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._owner: Conversation | None = None
        self._intents: list[str] = []
        self._tiers: list[str] = []
        self._known: dict[str, str] = {}
        self.count = 0

    def add(self, owners: Iterable[Conversation], intents: Iterable[str], tiers: Iterable[str]) -> None:
        """Add the next outcomes, in order: the conversation, the intent and the tier of each."""
        same = self._known.setdefault
        for owner, intent, tier in zip(owners, intents, tiers, strict=True):
            if owner is not self._owner:
                self.close()
                self._owner = owner
            # One string per label, for all replies.
            self._intents.append(same(intent, intent))
            self._tiers.append(same(tier, tier))

    def close(self) -> None:
        """Finish the last conversation."""
        if self._owner is None:
            return
        self._write(
            {
                "conversation_id": self._owner.id,
                "user_id": self._owner.user_id,
                "turns": len(self._intents),
                "intents": self._intents,
                "primary_intent": primary_intent(self._intents),
                "out_of_scope_share": self._intents.count(names.OUT_OF_SCOPE) / len(self._intents),
                "tiers": list(dict.fromkeys(self._tiers)),
            }
        )
        self.count += 1
        self._owner, self._intents, self._tiers = None, [], []


class Tally(Counter[tuple[str, str]]):
    """Counts outcomes by intent and tier."""

    @property
    def tiers(self) -> list[str]:
        """The tiers that answered, sorted."""
        return sorted({tier for _, tier in self})

    @property
    def out_of_scope_share(self) -> float:
        """The share of the outcomes that are out of scope; 0 without outcomes."""
        missed = sum(count for (intent, _), count in self.items() if intent == names.OUT_OF_SCOPE)
        return missed / self.total() if self else 0.0

    def by_intent(self) -> dict[str, dict[str, int]]:
        """Count the outcomes of each intent, the most frequent first, by tier."""
        table: dict[str, dict[str, int]] = {}
        for (intent, tier), count in sorted(self.items()):
            table.setdefault(intent, {})[tier] = count
        return dict(sorted(table.items(), key=lambda line: -sum(line[1].values())))
