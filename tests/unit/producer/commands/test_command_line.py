"""The edge turns whatever goes wrong into one line and an exit code."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click
import pytest

from pointsman_producer.commands import command_line, root, screen
from pointsman_producer.commands.terminal import Terminal
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.files import tables
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs


def test_a_command_works_with_a_closed_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    command = click.Command("says", callback=lambda: command_line.emit({"a": 1}))
    assert command_line.run(command, []) == command_line.OK
    sys.stdout.close()


def failing_with(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BrokerUnavailableError("Redis is away"), 4),
        (errors.ResultTimeoutError("too slow"), 4),
        (errors.InvalidDataError("line 3 is wrong"), 3),
        (errors.JobFailedError("a worker could not"), 3),
        (click.UsageError("no such option"), 2),
        (RuntimeError("a bug"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert command_line.run(failing_with(error), []) == code


def test_an_expected_error_is_one_line_on_stderr_and_nothing_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_line.run(failing_with(errors.InvalidDataError("line [3] of the file is wrong")), [])
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "error: line [3] of the file is wrong\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["clasify", "hi"], command_line.USAGE, "No such command 'clasify'. Did you mean 'classify'?"),
        (["nosuch"], command_line.USAGE, "No such command 'nosuch'."),
        (["classify", " "], command_line.BAD_INPUT, "error: the text is empty: give the words to classify"),
        (
            ["classify", "hi", "--attr", "plan=pro", "--attr", "plan=free"],
            command_line.USAGE,
            "--attr plan is given twice: give it one value",
        ),
        (
            ["dead", "replay", "--reason", "malformed"],
            command_line.USAGE,
            "malformed letters cannot be sent again",
        ),
    ],
)
def test_a_slip_of_the_pen_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert command_line.run(root.pointsman, arguments) == code
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("remedy", errors.Remedy)
def test_every_remedy_is_said_in_options_of_the_command_line(
    remedy: errors.Remedy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.run(failing_with(errors.InvalidDataError("it is there", remedy)), []) == 3
    error, advice = capsys.readouterr().err.splitlines()
    assert error == "error: it is there"
    assert "--" in advice


def test_a_bug_is_named_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(command_line.DEBUG_VARIABLE, raising=False)
    command_line.run(failing_with(RuntimeError("an unforeseen case")), [])
    written = capsys.readouterr().err
    assert "unexpected RuntimeError: an unforeseen case" in written
    assert "Traceback" not in written


def test_the_debug_variable_shows_where_a_bug_happened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(command_line.DEBUG_VARIABLE, "1")
    command_line.run(failing_with(RuntimeError("an unforeseen case")), [])
    assert "Traceback" in capsys.readouterr().err


def test_a_command_that_ends_with_an_exit_code_keeps_it() -> None:
    assert command_line.run(failing_with(click.exceptions.Exit(4)), []) == 4


def test_a_command_that_ends_well_gives_zero() -> None:
    assert command_line.run(click.Command("well", callback=lambda: None), []) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    name: str
    flag: jobs.FlagDecision


def test_json_has_dataclasses_and_wire_models_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command_line.emit(Value(name="ä", flag=jobs.FlagDecision(key="proModel", value=True, reason="default")))
    written = capsys.readouterr().out
    assert written.count("\n") == 1
    decision = {"key": "proModel", "value": True, "variation_id": None, "reason": "default", "etag": None}
    assert json.loads(written) == {"name": "ä", "flag": decision}


def test_a_redis_that_does_not_answer_is_said_with_the_way_to_get_one() -> None:
    settings = Settings.model_validate(
        {"redis_url": f"redis://anna:secret@127.0.0.1:{embedded_redis.free_port()}/0"}
    )
    with pytest.raises(errors.BrokerUnavailableError, match=r"pointsman up.*POINTSMAN_REDIS_URL") as caught:
        command_line.require_redis(settings)
    assert "secret" not in str(caught.value)


def test_a_redis_that_refuses_us_is_not_taken_for_one_that_is_away(redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis://stranger:secret@")
    with pytest.raises(
        errors.BrokerUnavailableError, match=r"refuses us.*check POINTSMAN_REDIS_URL"
    ) as caught:
        command_line.require_redis(Settings.from_env({"POINTSMAN_REDIS_URL": url}))
    assert "secret" not in str(caught.value)


def test_a_tier_that_cannot_be_served_is_said_with_the_command_that_trains_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_line.run(failing_with(errors.TierUnavailableError("no version of pro serves yet")), [])
    written = capsys.readouterr().err
    assert written.startswith("error: no version of pro serves yet\n")
    assert "pointsman train TIER" in written


# A sequence of the terminal's in both forms, a mark that turns the writing, half an emoji, a line that is overwritten.
EVIL = "a\x1b[31mb\x9b2Jc\u202ed\ud83de\rf"


@pytest.mark.parametrize(
    "show",
    [
        lambda: command_line.say(EVIL),
        lambda: command_line.note("note", EVIL),
        lambda: command_line.out.print(EVIL),
        lambda: command_line.out.print(tables.table([(EVIL,)], ["[heading]" + EVIL])),
        lambda: command_line.emit({"text": EVIL.replace("\ud83d", "")}),
        lambda: command_line.run(failing_with(errors.InvalidDataError(EVIL)), []),
        lambda: command_line.run(failing_with(click.UsageError(EVIL)), []),
        lambda: command_line.run(root.pointsman, ["dead", EVIL]),
    ],
    ids=["message", "note", "line", "table", "json", "error", "usage error", "unknown command"],
)
def test_nothing_that_is_printed_reaches_into_the_terminal(
    show: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    show()
    written = "".join(capsys.readouterr())
    assert "2J" in written
    assert all(line.isprintable() for line in written.split("\n"))


def test_json_is_the_same_text_with_its_control_characters_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_line.emit("ä\u202e\x9b\x7f")
    written = capsys.readouterr().out
    assert json.loads(written) == "ä\u202e\x9b\x7f"
    assert "\x9b" not in written


def test_words_of_other_scripts_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    command_line.say("\u0646\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb :warning:")
    assert capsys.readouterr().err == "\u0646\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb :warning:\n"


def test_a_pipe_gets_whole_cells(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    screen.give_table(
        [{"id": "i" * 60, "what": "word " * 60}], {"id": "id", "what": "what"}, "", as_json=False
    )
    _, row = capsys.readouterr().out.splitlines()
    assert row.split() == ["i" * 60, *["word"] * 60]


def test_no_color_stands_for_all_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Terminal()
    with console.capture() as written:
        console.print("[bold]bold[/]")
    assert written.get() == "bold\n"
