"""`pointsman dead` on a real Redis."""

import json
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.commands import command_line, root
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_ledger, open_letters

SECRET = "a very secret utterance"


@pytest.fixture
def redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setenv("POINTSMAN_REDIS_URL", redis_url)
    settings = Settings.from_env()
    ledger = open_ledger(settings)
    with Client(settings=settings) as client, Redis.from_url(redis_url) as redis:
        for number, (reason, batch) in enumerate((("failed", "b"), ("poison", "b"), ("failed", "c"))):
            message_id = f"m-{number}"
            client.submit_message(checked_request([SECRET], [None], batch), message_id=message_id)
            letter = dead_letters.DeadLetter(
                id=message_id,
                reason=reason,
                error="JobFailedError",
                detail="it [broke]",
                queue="",
                batch=batch,
                texts=1,
                died_at=time.time() - 100 * number,
            )
            ledger.fail(letter, errors.JobFailedError("it broke"))
        redis.delete(BULK)
        yield redis


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = command_line.run(root.pointsman, ["dead", *arguments])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ([], ["m-0", "m-1", "m-2"]),
        (["--reason", "failed"], ["m-0", "m-2"]),
        (["--batch", "b"], ["m-0", "m-1"]),
        (["--older-than", "50s"], ["m-1", "m-2"]),
        (["--newer-than", "2.5m", "--older-than", "0.5m"], ["m-1"]),
        (["--limit", "1"], ["m-0"]),
    ],
)
def test_dead_letters_are_listed_by_what_is_asked(
    redis: Redis, capsys: pytest.CaptureFixture[str], wanted: list[str], ids: list[str]
) -> None:
    code, out = run(capsys, "list", "--json", *wanted)
    assert (code, [letter["id"] for letter in json.loads(out)]) == (0, ids)


def test_what_a_message_says_is_shown_only_when_asked_for(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = run(capsys, "list")[1] + run(capsys, "show", "m-0")[1] + run(capsys, "show", "m-0", "--json")[1]
    assert "it [broke]" in quiet
    assert SECRET not in quiet
    assert SECRET in run(capsys, "show", "m-0", "--payload", "--json")[1]


def test_replaying_puts_messages_back_and_a_dry_run_does_not(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(capsys, "replay", "--batch", "b", "--dry-run", "--json")
    assert (code, json.loads(out)["ids"]) == (0, ["m-0", "m-1"])
    assert redis.llen(BULK) == 0
    assert run(capsys, "replay", "--batch", "b")[0] == 0
    assert redis.llen(BULK) == 2
    assert [letter["id"] for letter in json.loads(run(capsys, "list", "--json")[1])] == ["m-2"]


def test_a_letter_without_its_message_stays_and_the_others_are_replayed(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.hdel(keys.dead("m-0"), "payload")
    assert run(capsys, "replay", "--batch", "b")[0] == 0
    assert redis.llen(BULK) == 1
    assert {letter["id"] for letter in json.loads(run(capsys, "list", "--json")[1])} == {"m-0", "m-2"}
    assert run(capsys, "replay", "m-0")[0] == command_line.BAD_INPUT


def test_a_list_for_a_pipe_has_whole_ids_and_the_beginning_of_an_id_is_enough(
    redis: Redis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "0b6e" + 60 * "f"
    letter = dead_letters.DeadLetter(
        id=long, reason="failed", error="e", detail="it broke " * 20, queue="q", died_at=time.time() - 250
    )
    open_letters(Settings.from_env()).bury(letter)
    assert long in run(capsys, "list")[1].split()
    assert json.loads(run(capsys, "show", "0b6", "--json")[1])["id"] == long
    assert json.loads(run(capsys, "purge", "0b6e", "--json")[1])["ids"] == [long]
    assert run(capsys, "purge", "m-")[0] == command_line.BAD_INPUT
    assert run(capsys, "purge", "")[0] == command_line.BAD_INPUT
    assert len(json.loads(run(capsys, "list", "--json")[1])) == 3


def test_purging_forgets_what_it_is_asked_to_and_nothing_unasked(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "purge")[0] == command_line.USAGE
    assert run(capsys, "purge", "m-9")[0] == command_line.BAD_INPUT
    assert run(capsys, "purge", "--older-than", "soon")[0] == command_line.USAGE
    assert run(capsys, "purge", "m-1")[0] == 0
    assert run(capsys, "purge", "--reason", "poison")[0] == 0
    assert run(capsys, "purge", "--all")[0] == 0
    assert json.loads(run(capsys, "list", "--json")[1]) == []


def test_a_letter_is_shown_with_the_time_in_words_and_a_wrong_id_says_what_to_do(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert redis.exists(keys.dead("m-0"))
    code, out = run(capsys, "show", "m-0")
    assert code == 0
    died_at = float(redis.hget(keys.dead("m-0"), "died_at") or 0)
    assert time.strftime("%m-%d %H:%M:%S", time.localtime(died_at)) in out
    assert str(died_at) not in out
    assert command_line.run(root.pointsman, ["dead", "show", "zzz"]) == command_line.BAD_INPUT
    assert "`pointsman dead list` names those that there are" in " ".join(capsys.readouterr().err.split())


def test_cancelling_an_unknown_batch_is_not_silent(redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run(root.pointsman, ["cancel", "--batch", "nosuch"]) == command_line.OK
    assert "check the id" in capsys.readouterr().err
    redis.hset(keys.batch("known"), "done", 1)
    assert command_line.run(root.pointsman, ["cancel", "--batch", "known"]) == command_line.OK
    assert "check the id" not in capsys.readouterr().err
