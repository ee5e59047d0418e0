"""What a batch amounts to: one summary per conversation, and counts over all of it.

Both are fed column by column while outcomes arrive in order, so nothing is read twice and one conversation is
held at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pointsman_producer.transcripts.reader import Conversation
from pointsman_shared import names


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """What one conversation was about, by its classified turns."""

    conversation_id: str
    user_id: str | None
    turns: int
    """How many turns were classified."""
    intents: tuple[str, ...]
    """The intent of each of them, in order."""
    primary_intent: str
    """The most frequent intent in scope, the earliest of those as frequent; `out_of_scope` if there is none."""
    out_of_scope_share: float
    """The share of the classified turns that are out of scope, in [0, 1]."""
    tiers: tuple[str, ...]
    """The tiers that answered, in the order in which they first did."""


def primary_intent(intents: Iterable[str]) -> str:
    """Choose the intent a conversation is filed under; see `ConversationSummary`."""
    in_scope = Counter(intent for intent in intents if intent != names.OUT_OF_SCOPE)
    # max keeps the first of equals, and a Counter the order of arrival.
    return max(in_scope, key=in_scope.__getitem__, default=names.OUT_OF_SCOPE)


class Summariser:
    """Turns the stream of outcomes into conversation summaries.

    Args:
        write: Called with each summary as soon as its conversation is over.
    """

    def __init__(self, write: Callable[[ConversationSummary], None]) -> None:
        self._write = write
        self._owner: Conversation | None = None
        self._intents: list[str] = []
        self._tiers: list[str] = []
        self._known: dict[str, str] = {}
        self.count = 0

    def add(self, owners: Iterable[Conversation], intents: Iterable[str], tiers: Iterable[str]) -> None:
        """Take the next outcomes, in order: whose each is, its intent and its tier."""
        same = self._known.setdefault
        for owner, intent, tier in zip(owners, intents, tiers, strict=True):
            if owner is not self._owner:
                self.close()
                self._owner = owner
            # One string per label, however many replies repeat it.
            self._intents.append(same(intent, intent))
            self._tiers.append(same(tier, tier))

    def close(self) -> None:
        """Finish the conversation under way."""
        if self._owner is None:
            return
        self._write(_summarise(self._owner, self._intents, self._tiers))
        self.count += 1
        self._owner, self._intents, self._tiers = None, [], []


def _summarise(owner: Conversation, intents: list[str], tiers: list[str]) -> ConversationSummary:
    return ConversationSummary(
        conversation_id=owner.id,
        user_id=owner.user_id,
        turns=len(intents),
        intents=tuple(intents),
        primary_intent=primary_intent(intents),
        out_of_scope_share=intents.count(names.OUT_OF_SCOPE) / len(intents),
        tiers=tuple(dict.fromkeys(tiers)),
    )


class Tally:
    """Counts outcomes by intent and tier."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, intents: Iterable[str], tiers: Iterable[str]) -> None:
        """Take the next outcomes."""
        self._counts.update(zip(intents, tiers, strict=True))

    @property
    def total(self) -> int:
        """How many outcomes there are."""
        return self._counts.total()

    @property
    def tiers(self) -> list[str]:
        """The tiers that answered, sorted."""
        return sorted({tier for _, tier in self._counts})

    @property
    def out_of_scope_share(self) -> float:
        """The share of all outcomes that are out of scope; 0 where there are none."""
        missed = sum(count for (intent, _), count in self._counts.items() if intent == names.OUT_OF_SCOPE)
        return missed / self.total if self.total else 0.0

    def by_intent(self) -> dict[str, dict[str, int]]:
        """Give for each intent, the most frequent first, how many outcomes each tier has of it."""
        table: dict[str, dict[str, int]] = {}
        for (intent, tier), count in sorted(self._counts.items()):
            table.setdefault(intent, {})[tier] = count
        return dict(sorted(table.items(), key=lambda line: -sum(line[1].values())))
