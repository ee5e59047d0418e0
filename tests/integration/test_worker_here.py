"""A serving worker from the queue to the outcome, in this process."""

import asyncio
import datetime
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from pydantic import SecretStr
from redis import Redis

from pointsman_models.registry.versions import Registry
from pointsman_producer.aio import AsyncClient
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.commands import command_line, root
from pointsman_producer.diagnostics import probe
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, heartbeat
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs, shadow
from pointsman_workers import bootstrap
from pointsman_workers.delivery.task import WorkerApp
from pointsman_workers.serving import classify
from pointsman_workers.shadow import sampling
from tests.support import flag_config, running, worker_here
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_letters

TIMEOUT_S = 30
PRO = jobs.User(id="ana", custom={"plan": "pro"})


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    registry = Registry(str(tmp_path / "registry"))
    for tier, intents in running.TIERS.items():
        registry.promote(tier, running.keep(registry, tier, intents), "tests", "to have one")
    flags = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    flags["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
    running.write_flags(tmp_path / "flags.json", flags)
    return Settings.model_validate(
        {
            "redis_url": redis_url,
            "registry_url": str(tmp_path / "registry"),
            "data_dir": running.DATA,
            "flags_file": tmp_path / "flags.json",
        }
    )


@pytest.fixture
def worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerApp]:
    with worker_here.serving(settings, monkeypatch) as app:
        yield app


def test_a_worker_answers_counts_compares_and_reports(
    worker: WorkerApp, client: Client, store: Store
) -> None:
    reply = client.submit_message(checked_request(["hi", "bye"], [PRO, None], "b")).result(TIMEOUT_S)
    assert reply.intent == ["greeting", "goodbye"]
    assert [reply.routes[place].tier for place in reply.route_of] == ["pro", "base"]
    assert client.progress("b") == {"done": 2, "base:goodbye": 1, "pro:greeting": 1}
    eventually(client.shadow.drained, "the texts are compared")
    eventually(lambda: sum(row["texts"] for row in client.shadow.pairs()) == 2, "both are counted")
    (process,) = probe.processes(store)
    assert process["tiers"] == {"base": 1, "pro": 1}
    assert process["flags"]["source"] == "file"
    assert process["problems"] == []
    eventually(lambda: len(pulses(store)) == 1, "its heartbeat is written")
    assert heartbeat.is_serving(store, pulses(store)[0])
    assert not heartbeat.is_serving(store, pulses(store)[0], time.time() + 60)
    assert not heartbeat.is_serving(store, "no such node")


def pulses(store: Store) -> list[str]:
    return [key.decode().rpartition("pulse:")[2] for key in store.scan_iter(keys.pulse("*"))]


def test_a_message_that_cannot_be_used_is_a_dead_letter_and_the_next_one_is_served(
    worker: WorkerApp, client: Client, redis: Redis, settings: Settings
) -> None:
    redis.lpush(BULK, b"garbage")
    redis.lpush(BULK, json.dumps({"body": "", "headers": {}, "properties": {}}))
    with pytest.raises(errors.InvalidMessageError):
        worker.send_task(names.CLASSIFY_TASK, args=({"texts": []},), queue=keys.queue("bulk")).get(TIMEOUT_S)
    assert client.submit_message(checked_request(["hi"], [None])).result(TIMEOUT_S).intent == ["greeting"]
    letters = open_letters(settings)
    assert sorted(letter.reason for letter in letters.find()) == [
        dead_letters.INVALID,
        dead_letters.MALFORMED,
        dead_letters.MALFORMED,
    ]


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (SoftTimeLimitExceeded(), (errors.TimeLimitError, dead_letters.TIME_LIMIT)),
        (RuntimeError("a secret"), (errors.JobFailedError, dead_letters.FAILED)),
        (ConnectionResetError("a secret"), (errors.UnavailableError, dead_letters.FAILED)),
    ],
)
def test_a_job_that_fails_is_a_dead_letter_with_its_reason_and_no_secret(
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    told: tuple[type[Exception], str],
) -> None:
    monkeypatch.setattr(classify, "classify", failing(raised))
    expected, reason = told
    with pytest.raises(expected) as caught:
        client.submit_message(checked_request(["hi"], [None]), message_id="m").result(TIMEOUT_S)
    letter = open_letters(settings).get("m")
    assert letter is not None
    assert (letter.reason, letter.attempts, letter.texts) == (reason, 1, 1)
    assert "secret" not in f"{caught.value} {letter.detail}"


def test_a_message_that_cannot_be_kept_for_the_shadow_is_served_all_the_same(
    worker: WorkerApp, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sampling, "sample", failing(RuntimeError("a secret")))
    assert client.submit_message(checked_request(["hi"], [None])).result(TIMEOUT_S).intent == ["greeting"]
    assert "a served message is not shadowed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text
    assert client.shadow.pairs() == []


def test_a_finished_message_that_comes_again_gets_its_first_outcome(
    worker: WorkerApp, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = checked_request(["hi"], [None], "b")
    first = client.submit_message(request, message_id="m").result(TIMEOUT_S)
    monkeypatch.setattr(classify, "classify", failing(RuntimeError("it is not done again")))
    assert client.submit_message(request, message_id="m").result(TIMEOUT_S) == first
    assert client.progress("b")["done"] == 1


def test_a_message_whose_time_is_far_off_waits_in_redis(worker: WorkerApp, redis: Redis) -> None:
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    request = checked_request(["hi"], [None]).model_dump()
    worker.send_task(names.CLASSIFY_TASK, args=(request,), task_id="far", queue=BULK, eta=due)
    eventually(lambda: redis.zscore(keys.deferred, "far") is not None, "the message waits in Redis")
    assert time.time() + 3_000 < (redis.zscore(keys.deferred, "far") or 0) < due.timestamp()
    eventually(lambda: redis.hlen(keys.unacked) == 0, "no worker holds it")


def test_a_message_whose_time_is_near_is_held_by_the_worker(worker: WorkerApp, redis: Redis) -> None:
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=25)
    request = checked_request(["hi"], [None]).model_dump()
    worker.send_task(names.CLASSIFY_TASK, args=(request,), task_id="near", queue=BULK, eta=due)
    eventually(lambda: redis.hlen(keys.unacked) == 1, "the worker holds it")
    assert redis.zscore(keys.deferred, "near") is None


def test_questions_about_models_are_answered(worker: WorkerApp, client: Client) -> None:
    assert {(row["tier"], row["version"]) for row in client.models("list").result(TIMEOUT_S)} == {
        ("base", 1),
        ("pro", 1),
    }
    assert client.models("diff", tier="base", version=1, other=1).result(TIMEOUT_S) == []


@pytest.fixture
def pointsman(
    worker: WorkerApp, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command against the worker, and return what it prints."""
    monkeypatch.setenv("POINTSMAN_REDIS_URL", settings.redis_url.get_secret_value())

    def run(*arguments: str, code: int = command_line.OK) -> str:
        assert command_line.run(root.pointsman, arguments) == code
        written = capsys.readouterr()
        return " ".join((written.err if code else written.out + written.err).split())

    return run


def test_versions_are_listed_shown_and_changed_at_the_command_line(
    pointsman: Callable[..., str], settings: Settings
) -> None:
    registry = Registry(settings.registry_url)
    for _ in range(2):
        running.keep(registry, "base", running.TIERS["base"])
    assert "1 champion" in pointsman("models", "list", "base")
    assert "base version 1" in pointsman("models", "show", "base")
    assert "not judged yet" in pointsman("models", "show", "base", "2")
    assert "They do not differ." in pointsman("models", "diff", "base", "2")
    assert "2 is the candidate now" in pointsman("models", "nominate", "base", "2")
    assert "never judged by the gate" in pointsman(
        "models", "promote", "base", "3", code=command_line.BAD_INPUT
    )
    assert "--force needs --why" in pointsman(
        "models", "promote", "base", "3", "--force", code=command_line.USAGE
    )
    assert "base serves version 3 now, after version 1" in pointsman(
        "models", "promote", "base", "3", "--force", "--why", "an emergency"
    )
    told = pointsman("models", "history", "base")
    assert "(forced)" in told
    assert "against: it was never judged" in told
    assert "base serves version 1 now, after version 3" in pointsman("models", "rollback", "base")
    assert "removed: nothing" in pointsman("models", "prune", "base", "--keep", "1")


def test_texts_are_classified_and_messages_cancelled_at_the_command_line(
    pointsman: Callable[..., str],
) -> None:
    assert "greeting" in pointsman("classify", "hi")
    assert "either message ids or --batch" in pointsman("cancel", code=command_line.USAGE)
    assert "cancelled: 0 of 1" in pointsman("cancel", "unknown")
    assert "Batch b was cancelled" in pointsman("cancel", "--batch", "b")
    assert "has no training run" in pointsman("train", "base", "--cancel")
    assert "is submitted" in pointsman("train", "base", "--no-wait")
    assert "is being trained already" in pointsman("train", "base", "--no-wait", code=command_line.TRY_LATER)
    assert "was asked to stop" in pointsman("train", "base", "--cancel")
    assert "pointsman_workers.trainer" in pointsman("doctor"), "a trainer is missing, and nothing else"


def test_pairs_and_files_are_compared_at_the_command_line(
    pointsman: Callable[..., str], tmp_path: Path
) -> None:
    nothing = pointsman("shadow", "report", code=command_line.BAD_INPUT)
    assert "nothing was compared yet; there are: none" in nothing
    unknown = pointsman("shadow", "report", "a@1 vs b@1", code=command_line.BAD_INPUT)
    assert "no pair 'a@1 vs b@1' was compared" in unknown
    rows = [{"mine": "pay", "yours": "pay"}, {"mine": "pay", "yours": "bye"}] * 10
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = pointsman(
        "shadow", "compare", "mine", "yours", str(tmp_path / "answers.jsonl"), "--from-predictions"
    )
    assert "mine" in told
    assert "50.0%" in told


def test_a_file_is_classified_at_the_command_line_once(pointsman: Callable[..., str], tmp_path: Path) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("hi\nbye\n")
    command = ("batch", str(source), "-o", str(out), "--no-text")
    assert "exclude each other" in pointsman(*command, "--resume", "--force", code=command_line.USAGE)
    assert "2 outcomes of 2 conversations" in pointsman(*command)
    assert [json.loads(line)["intent"] for line in out.read_text().splitlines()] == ["greeting", "goodbye"]
    assert "is complete already" in pointsman(*command, "--resume")
    assert json.loads(pointsman(*command, "--resume", "--json").partition("}")[0] + "}")["already"] is True


def test_a_batch_says_that_its_id_was_used_before(pointsman: Callable[..., str], tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("hi\n")
    said = [
        pointsman("batch", str(source), "-o", str(tmp_path / f"{name}.jsonl"), "--batch-id", "again", *more)
        for name, more in (("one", ()), ("two", ()), ("two", ("--force",)))
    ]
    assert ["was run before: its stored outcomes are given again" in each for each in said] == [
        False,
        True,
        False,
    ]


def test_a_chat_ends_with_its_input(pointsman: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1\nhi\n"))
    assert "greeting" in pointsman("chat", "--plan", "pro")


def test_jobs_are_classified_from_asyncio(worker: WorkerApp, settings: Settings) -> None:
    async def ask() -> tuple[list[str], str, bool]:
        async with AsyncClient(settings=settings) as client:
            handle = await client.submit("hi", user=PRO)
            first = await handle.result(TIMEOUT_S)
            others = [await one.result(TIMEOUT_S) for one in await client.submit_many(["bye", "hi"])]
            return [first.intent, *(one.intent for one in others)], handle.status, handle.done()

    assert asyncio.run(ask()) == (["greeting", "goodbye", "greeting"], "done", True)


def test_a_job_that_no_worker_does_in_time_is_given_up(settings: Settings) -> None:
    async def ask() -> None:
        async with AsyncClient(settings=settings) as client:
            await client.classify("hi", timeout_s=0.01)

    with pytest.raises(errors.ResultTimeoutError):
        asyncio.run(ask())


def test_two_versions_are_compared_on_texts_and_nothing_of_it_is_kept(
    worker: WorkerApp, client: Client
) -> None:
    texts = ["hi", "bye", "pay with visa"] * 20
    report = client.shadow.compare("base@1", "pro@1", texts, ["greeting"] * len(texts))
    assert report.agreement is not None
    assert (report.agreement.texts, report.agreement.agreed) == (60, 40)
    with pytest.raises(errors.InvalidMessageError, match="1 labels were given for 2 texts"):
        client.shadow.compare("base@1", "pro@1", ["hi", "bye"], ["greeting"])
    side = shadow.Side(intent=["greeting", "goodbye"])
    predicted = client.shadow.compare_predictions(
        "mine", "yours", shadow.Answers(served=side, candidate=side)
    )
    assert (predicted.served, predicted.candidate) == ("mine", "yours")
    assert client.shadow.pairs() == []


def test_with_an_sdk_key_a_process_reads_the_configuration_of_configcat(settings: Settings) -> None:
    key = SecretStr(f"configcat-sdk-1/{'a' * 22}/{'b' * 22}")
    parts = bootstrap.ServingParts(settings.model_copy(update={"configcat_sdk_key": key}))
    try:
        assert parts.process().flags.state().source == "configcat"
    finally:
        parts.close()
