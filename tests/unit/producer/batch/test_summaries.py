"""What a batch amounts to."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_producer.batch import summaries
from pointsman_producer.transcripts.reader import Conversation
from pointsman_shared import names
from pointsman_shared.wire import jobs

OOS = names.OUT_OF_SCOPE


def talk(conversation_id: str, user: str | None = None) -> Conversation:
    return Conversation(id=conversation_id, user=jobs.User(id=user) if user else None, turns=(), line=1)


def summarise(*outcomes: tuple[Conversation, str, str]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    summariser = summaries.Summariser(written.append)
    for owner, intent, tier in outcomes:
        summariser.add([owner], [intent], [tier])
    summariser.close()
    assert summariser.count == len(written)
    return written


def test_a_summary_tells_what_a_conversation_was_about() -> None:
    owner = talk("c1", "u-1")
    (summary,) = summarise(
        (owner, "greeting", "base"),
        (owner, OOS, "pro"),
        (owner, "payment", "pro"),
        (owner, "payment", "base"),
    )
    assert summary == {
        "conversation_id": "c1",
        "user_id": "u-1",
        "turns": 4,
        "intents": ["greeting", OOS, "payment", "payment"],
        "primary_intent": "payment",
        "out_of_scope_share": 0.25,
        "tiers": ["base", "pro"],
    }


@pytest.mark.parametrize(
    ("intents", "expected"),
    [
        (["b", "a", "a"], "a"),
        (["b", "a", "a", "b"], "b"),
        ([OOS, OOS, "a"], "a"),
        ([OOS], OOS),
    ],
)
def test_the_primary_intent_is_the_most_frequent_in_scope_and_the_earliest_of_equals(
    intents: list[str], expected: str
) -> None:
    assert summaries.primary_intent(intents) == expected


def test_two_conversations_with_the_same_id_stay_two() -> None:
    first, second = talk("c1"), talk("c1")
    assert [
        summary["turns"] for summary in summarise((first, "a", "t"), (first, "a", "t"), (second, "a", "t"))
    ] == [2, 1]


def test_no_outcomes_give_no_summary() -> None:
    assert summarise() == []


def test_an_empty_tally_shares_nothing_out() -> None:
    tally = summaries.Tally()
    assert (tally.total(), tally.out_of_scope_share, tally.tiers, tally.by_intent()) == (0, 0.0, [], {})


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", OOS]), st.sampled_from(["base", "pro"])))))
def test_a_tally_agrees_with_counting_by_hand(columns: list[list[tuple[str, str]]]) -> None:
    tally = summaries.Tally()
    for column in columns:
        tally.update(column)
    every = [outcome for column in columns for outcome in column]
    assert tally.total() == len(every)
    by_hand = Counter(every)
    assert {
        (intent, tier): n for intent, row in tally.by_intent().items() for tier, n in row.items()
    } == by_hand
    assert tally.out_of_scope_share * len(every) == pytest.approx(sum(intent == OOS for intent, _ in every))
    totals = [sum(row.values()) for row in tally.by_intent().values()]
    assert totals == sorted(totals, reverse=True)
