"""Commands for people: what chat, classify, train and models print, over a client that answers from memory."""

import contextlib
import io
import json
from typing import Any, Literal

import click
import pytest

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.client.users import UserLike
from pointsman_producer.commands import chat, classify, command_line, models, root, screen
from pointsman_producer.files import tables
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from tests.support.handles import answered

DECISION = jobs.FlagDecision(
    key="proModel", value=True, variation_id="pro-plans", reason="targeting_rule", etag="e1"
)


def outcome(text: str, *, intent: str = "greeting", tier: str = "base") -> jobs.Outcome:
    ranking = (
        jobs.RankedIntent(intent="greeting", confidence=0.91),
        jobs.RankedIntent(intent="goodbye", confidence=0.06),
    )
    return jobs.Outcome(
        job_id="m:0",
        text=text,
        intent=intent,
        confidence=0.91,
        ranking=ranking,
        tier=tier,
        model_version=4,
        flag=DECISION,
        wait_ms=3.2,
        inference_ms=0.11,
    )


REPLY = jobs.TrainReply(
    tier="pro",
    version=5,
    promoted=True,
    reasons=[],
    metrics={"accuracy": 0.98, "accuracy_at_threshold": 0.95, "macro_f1_at_threshold": 0.9, "golden": 70.0},
    pipeline="words",
    threshold=0.4,
    duration_s=8.0,
    warnings=[],
)


TIERS: list[dict[str, Any]] = [{"tier": "base", "champion": 1}, {"tier": "pro", "champion": None}]


class FakeClient(Client):
    """A client without Redis: remembers what it was asked; its registry answers with the lines it is given."""

    def __init__(self, lines: list[dict[str, Any]] = TIERS) -> None:  # without a real client's connections
        self.lines = lines
        self.asked: list[tuple[str, UserLike]] = []
        self.trained: list[str] = []

    def classify(
        self,
        text: str,
        *,
        user: UserLike = None,
        timeout_s: float = 0.0,
        include_text: bool = True,
        ranking: int = 1,
    ) -> jobs.Outcome:
        if text == "fail":
            msg = "the worker is [gone]"
            raise errors.ResultTimeoutError(msg)
        self.asked.append((text, user))
        return outcome(text)

    def models(self, action: str, **_: object) -> TaskHandle[list[dict[str, Any]]]:
        return answered(self.lines)

    def train(
        self,
        tier: str,
        *,
        requested_by: str = "",
        promote: bool = True,
        on_busy: Literal["refuse", "join"] = "refuse",
    ) -> TaskHandle[jobs.TrainReply]:
        self.trained.append(tier)
        handle: TaskHandle[jobs.TrainReply] = TaskHandle("t1", jobs.TrainReply.model_validate, lambda _: None)
        handle.future.set_result(b'{"status": "SUCCESS", "result": %s}' % REPLY.model_dump_json().encode())
        return handle


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def talk(client: Client, typed: str, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    chat.menu(chat.Session(client=client, user=jobs.User(id="anna"), as_json=as_json))


def test_the_menu_is_that_of_the_demo() -> None:
    assert chat.MENU == "1 - Interact | 2 - Train | 3 - Exit"


def test_what_is_typed_is_classified_for_the_user_who_types(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(client, "1\nhello\n/plan pro\n/user ben\nhello again\n/back\n3\n", monkeypatch)
    assert client.asked == [
        ("hello", jobs.User(id="anna")),
        ("hello again", jobs.User(id="ben", custom={"plan": "pro"})),
    ]


def test_a_chat_keeps_the_attributes_it_began_with(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "connected", lambda: contextlib.nullcontext(client))
    monkeypatch.setattr("sys.stdin", io.StringIO("1\nhello\n/plan pro\nbye\n/back\n3\n"))
    assert command_line.run(chat.chat, ["--plan", "free", "--attr", "age=7"]) == command_line.OK
    assert client.asked == [
        ("hello", jobs.User(id="chat", custom={"plan": "free", "age": "7"})),
        ("bye", jobs.User(id="chat", custom={"plan": "pro", "age": "7"})),
    ]


def test_answers_go_to_stdout_and_prompts_do_not(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(client, "1\nhello\n/back\n3\n", monkeypatch, as_json=True)
    written = capsys.readouterr()
    assert written.out.count("\n") == 1
    assert written.out.startswith('{"job_id":"m:0"')
    assert chat.MENU in written.err


def test_a_chat_goes_on_after_an_error(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(client, "1\nfail\nhello\n/back\n3\n", monkeypatch)
    assert "error the worker is [gone]" in capsys.readouterr().err
    assert [text for text, _ in client.asked] == ["hello"]


def test_training_is_asked_for_by_tier(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(client, "2\npro\n2\n\n3\n", monkeypatch)
    assert client.trained == ["pro"]


def test_an_unknown_command_gets_help_and_is_not_classified(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(client, "1\n/plam pro\n/plan\n/back\nx\n3\n", monkeypatch)
    written = capsys.readouterr().err
    assert client.asked == []
    assert written.count(chat.HELP) == 3
    assert "type 1, 2 or 3" in written


def test_the_end_of_the_input_ends_the_chat(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EOFError):
        talk(client, "1\nhello\n", monkeypatch)
    assert len(client.asked) == 1


def test_a_person_sees_intent_tier_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_outcome(outcome("hi"))
    assert capsys.readouterr().out.splitlines() == [
        "greeting  91%  then goodbye 6%",
        "  tier  base, version 4",
        "  why   proModel = true: a targeting rule matched (variation pro-plans)",
        "  time  3 ms in the queue, 0.1 ms in the model",
    ]


def test_out_of_scope_shows_the_nearest_intents_and_no_certainty(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_outcome(outcome("hi", intent="out_of_scope"))
    assert capsys.readouterr().out.startswith("out_of_scope  nearest greeting 91%, goodbye 6%\n")


def test_a_user_is_made_of_what_the_command_line_says() -> None:
    user = classify.describe_user(
        "anna", email="anna@example.com", country="GB", attributes=["plan=pro", "note=a=b"]
    )
    assert user == jobs.User(
        id="anna", email="anna@example.com", country="GB", custom={"plan": "pro", "note": "a=b"}
    )


def test_without_a_word_about_the_user_there_is_none() -> None:
    assert classify.describe_user(None) is None
    with pytest.raises(click.UsageError, match="--user is empty"):
        classify.describe_user("")


def test_a_user_who_is_only_described_gets_an_id() -> None:
    assert classify.describe_user(None, attributes=["plan=pro"]) == jobs.User(
        id="cli", custom={"plan": "pro"}
    )


@pytest.mark.parametrize("pair", ["plan", "=pro"])
def test_an_attribute_needs_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(click.UsageError, match="NAME=VALUE"):
        classify.describe_user("anna", attributes=[pair])


def test_a_training_run_is_shown_with_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_training(REPLY)
    written = capsys.readouterr().out
    assert "pro version 5, trained in 8.0 s" in written
    assert "macro_f1_at_threshold 0.900, accuracy_at_threshold 0.950, golden 70\n" in written
    assert "serving   yes" in written


def test_a_version_that_may_not_serve_is_shown_with_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_training(REPLY.model_copy(update={"promoted": False, "reasons": ["golden utterance failed"]}))
    assert "serving   no: golden utterance failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("champions", "missing"),
    [
        ({"base": None, "pro": None}, ["base", "pro"]),
        ({"base": 1, "pro": None, "third": None}, ["pro", "third"]),
        ({"base": 1, "pro": 7}, []),
    ],
)
def test_a_tier_without_a_champion_is_missing(champions: dict[str, int | None], missing: list[str]) -> None:
    lines = [{"tier": tier, "champion": champion} for tier, champion in champions.items()]
    assert registry.missing_tiers(FakeClient(lines)) == missing


def test_versions_are_listed_with_their_alias() -> None:
    line = {
        "tier": "pro",
        "version": 3,
        "champion": True,
        "candidate": False,
        "created_at": "2026-03-02T09:14:05+00:00",
        "requested_by": "anna",
        "pipeline": "words",
        "metrics": {"macro_f1": 0.99, "macro_f1_at_threshold": 0.91234},
    }
    listed = models._listed(line)
    cells = [str(tables.cell(listed[name])) for name in models.LISTED]
    assert cells == ["pro", "3", "champion", "2026-03-02 09:14", "anna", "words", "0.912", ""]


def test_a_version_is_shown_with_what_was_found_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    compared = {
        "champion": 3,
        "macro_f1": 0.92,
        "champion_macro_f1": 0.9,
        "lower_bound": 0.01,
        "discordant": 8,
        "rows": 90,
    }
    card = {
        "tier": "pro",
        "version": 4,
        "champion": True,
        "candidate": False,
        "created_at": "2026-03-02T09:14:05+00:00",
        "requested_by": "anna",
        "duration_s": 8.0,
        "pipeline": "words",
        "threshold": 0.4,
        "intents": ["greeting", "goodbye"],
        "examples": {"train": 80, "test": 20},
        "metrics": {"accuracy": 0.95},
        "libraries": {"numpy": "2.0"},
        "warnings": ["few examples of goodbye"],
        "certificate": {
            "reasons": [],
            "figures": {"test_rows": 90, "near_copies_left_out": 2, "comparison": compared},
            "shadow": {"decision": "better", "wins": 9, "ties": 1, "losses": 2},
        },
    }
    models.show(card)
    written = capsys.readouterr()
    lines = [line.split(maxsplit=1) for line in written.out.splitlines()]
    assert "few examples of goodbye" in written.err
    assert ["gate", "passed"] in lines
    assert ["shadow", "better, 9 wins, 1 ties, 2 losses"] in lines
    assert "against    version 3: macro-F1 +0.020, at least +0.010, 8 of 90 rows differ" in written.out


@pytest.mark.parametrize("differences", [[], ["data: [changed]"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_certificate_that_does_not_hold_is_an_exit_code(
    differences: list[str], as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"tier": "pro", "version": 4, "holds": not differences, "differences": differences}
    monkeypatch.setattr(command_line, "connected", lambda: contextlib.nullcontext(FakeClient([answer])))
    arguments = ["models", "verify", "pro", "4", *(["--json"] if as_json else [])]
    code = command_line.run(root.pointsman, arguments)
    assert code == (command_line.BAD_INPUT if differences else command_line.OK)
    written = "".join(capsys.readouterr())
    if as_json:
        assert json.loads(written) == answer
    else:
        assert (differences or ["the certificate of pro 4 holds"])[0] in written
