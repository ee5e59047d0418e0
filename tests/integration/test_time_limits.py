"""Jobs that take too long, on real workers: stopped, explained, and blocking no other job."""

import contextlib
import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.commands import command_line, root
from pointsman_producer.deployment.launcher import APP, Deployment
from pointsman_producer.deployment.supervisor import Program
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_workers.delivery import task as delivery_task
from tests.support import running, slow_app
from tests.support.deadlines import eventually, outlast
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_letters
from tests.support.running import Running

ROOT = Path(__file__).parents[2]
VISIBILITY_S = 10
LIMIT_S = 6
TIMEOUT_S = 60


class SlowDeployment(Deployment):
    """A deployment whose serving worker knows texts that take for ever."""

    def programs(self) -> list[Program]:
        return [
            Program(
                name=program.name,
                command=["tests.support.slow_app" if part == APP else part for part in program.command],
                environ={**program.environ, "PYTHONPATH": str(ROOT)},
            )
            for program in super().programs()
        ]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("slow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "Deployment", SlowDeployment)
        with running.deployment(folder, extra={"visibility_timeout_s": VISIBILITY_S}) as deployment:
            yield deployment


@pytest.fixture
def client(deployed: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("POINTSMAN_REDIS_URL", deployed.settings.redis_url.get_secret_value())
    with Client(settings=deployed.settings) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "limit_s"),
    [(slow_app.SLEEPS, LIMIT_S), (slow_app.SLEEPS_ON, LIMIT_S + delivery_task.KILL_AFTER_S)],
)
def test_a_job_that_hangs_is_stopped_and_the_others_are_served(
    client: Client, text: str, limit_s: int
) -> None:
    # One for each process, so that the others can only be done after them.
    hung = [client.submit_message(checked_request([text, "hi"], [None, None], "b")) for _ in range(2)]
    others = [client.submit(greeting) for greeting in ["hi"] * 20]
    for message in hung:
        with pytest.raises(errors.TimeLimitError, match=f"time limit of {limit_s} s") as stopped:
            message.result(TIMEOUT_S)
        assert stopped.value.dead_letter == message.id
        assert not stopped.value.is_retryable
    assert {other.result(TIMEOUT_S).intent for other in others} == {"greeting"}
    letters = open_letters(client.settings)
    found = [letter for letter in letters.find() if letter.id in {message.id for message in hung}]
    assert [(letter.reason, letter.texts) for letter in found] == [(dead_letters.TIME_LIMIT, 2)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["one child", "the whole worker"])
@pytest.mark.parametrize(
    "stopped_s", [LIMIT_S + 2, LIMIT_S + delivery_task.KILL_AFTER_S + 3], ids=["soft", "hard"]
)
def test_a_limit_that_passed_while_the_processes_stood_still_is_an_interruption(
    client: Client, deployed: Running, tmp_path: Path, whole: bool, stopped_s: float
) -> None:
    marker = tmp_path / "started"
    message = client.submit_message(checked_request([slow_app.SLEEPS_ONCE + str(marker), "hi"], [None, None]))
    eventually(marker.exists, "the first attempt is made")
    parent = psutil.Process(deployed.deployment.pids()["serving"])
    stopped = [*parent.children(recursive=True), *([parent] if whole else [])]
    for process in stopped:
        process.suspend()
    outlast(stopped_s, "the limit")
    for process in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    assert message.result(TIMEOUT_S).intent[1] == "greeting"
    assert open_letters(client.settings).get(message.id) is None


def test_a_message_whose_time_is_far_off_waits_in_redis_and_comes_in_time(client: Client) -> None:
    with broker_config.make_app(client.settings) as app, Store.connect(client.settings) as store:
        due = time.time() + 0.8 * VISIBILITY_S
        eta = datetime.datetime.fromtimestamp(due, datetime.UTC)
        sent = [
            app.send_task(
                names.CLASSIFY_TASK,
                args=({"texts": ["hi"]},),
                task_id=f"far off {number}",
                queue=BULK,
                eta=eta,
            )
            for number in range(20)
        ]
        ids = {one.id.encode() for one in sent}
        eventually(lambda: ids <= set(store.zrange(keys.deferred, 0, -1)), "all wait in the ledger")
        assert not store.exists(keys.unacked)
        assert client.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
        for one in sent:
            assert one.get(timeout=TIMEOUT_S)["intent"] == ["greeting"]
        assert time.time() >= due
        assert not store.zrange(keys.deferred, 0, -1)


def test_a_message_for_a_time_beyond_a_month_is_refused(client: Client) -> None:
    with broker_config.make_app(client.settings) as app:
        sent = app.send_task(
            names.CLASSIFY_TASK,
            args=({"texts": ["hi"]},),
            task_id="next year",
            queue=BULK,
            countdown=31 * 86_400,
        )
        with pytest.raises(Exception, match="more than 30 days ahead"):
            sent.get(timeout=TIMEOUT_S)


def test_the_command_line_says_what_became_of_it_and_where_it_is(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command_line.run(root.pointsman, ["classify", slow_app.SLEEPS])
    said = capsys.readouterr().err
    assert code == command_line.BAD_INPUT
    assert f"stopped after its time limit of {LIMIT_S} s" in said
    letter_id = said.split("pointsman dead show ")[1].strip()
    assert command_line.run(root.pointsman, ["dead", "show", letter_id, "--json"]) == command_line.OK
    assert json.loads(capsys.readouterr().out)["reason"] == dead_letters.TIME_LIMIT


def test_a_waiting_message_can_be_cancelled_at_the_command_line(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = [client.submit_message(checked_request([slow_app.SLEEPS], [None])) for _ in range(2)]
    waiting = client.submit_message(checked_request(["hi"], [None]))
    rest = [client.submit_message(checked_request(["hi", "bye"], [None, None], "off")) for _ in range(3)]
    assert command_line.run(root.pointsman, ["cancel", waiting.id, "--json"]) == command_line.OK
    assert json.loads(capsys.readouterr().out)["cancelled"] == [waiting.id]
    assert command_line.run(root.pointsman, ["cancel", "--batch", "off"]) == command_line.OK
    for message in (waiting, *rest):
        with pytest.raises(errors.CancelledError) as cancelled:
            message.result(TIMEOUT_S)
        assert cancelled.value.dead_letter is None
    assert client.progress("off") == {"cancelled": 6}
    assert all(message.future.result(TIMEOUT_S) for message in busy)


def test_a_message_at_work_can_be_cancelled(client: Client) -> None:
    message = client.submit_message(checked_request([slow_app.SLEEPS], [None], "started"))
    with Store.connect(client.settings) as store:
        eventually(lambda: store.hexists(keys.open(message.id), "attempts"), "a worker has it")
    assert client.cancel(message.id)
    with pytest.raises(errors.CancelledError):
        message.result(TIMEOUT_S)
    # Its time limit comes later, and changes nothing.
    assert client.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
    # Nothing tells that a limit was passed in vain.
    outlast(LIMIT_S, "the time limit")
    again = checked_request([slow_app.SLEEPS], [None], "started")
    with pytest.raises(errors.CancelledError):
        client.submit_message(again, message_id=message.id).result(TIMEOUT_S)
    assert client.progress("started") == {"cancelled": 1}


def test_serving_has_two_thirds_of_the_visibility_timeout_and_training_a_limit_of_its_own() -> None:
    settings = Settings.model_validate({"visibility_timeout_s": 60, "train_time_limit_s": 900})
    assert delivery_task.serving_limits(settings) == (40, 45)
    assert delivery_task.training_limits(settings) == (900, 905)
    assert settings.train_visibility_timeout_s == 1_800
