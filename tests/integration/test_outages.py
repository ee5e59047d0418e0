"""Redis goes away in every way there is, and comes back: workers serve again by themselves, producers get an error."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.commands import command_line, root
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support import flag_config, running, tiny
from tests.support.default_keys import keys
from tests.support.redis_server import RedisServer

# The outages are so long: nothing is waited for but time.
AWAY_S = 3
# What is promised: from Redis's return to the outcome of a job that was submitted then.
BACK_WITHIN_S = 5
# Longer than any timeout of a connection.
SILENT_S = 20

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A deployment and the Redis it needs."""

    redis: RedisServer
    deployment: Deployment
    settings: Settings


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    folder = tmp_path_factory.mktemp("outages")
    with RedisServer.start(appendonly=True) as redis:
        settings = Settings.model_validate(
            {
                "redis_url": redis.url,
                "registry_url": str(folder / "registry"),
                "data_dir": running.DATA,
                "flags_file": folder / "flags.json",
            }
        )
        registry = Registry(settings.registry_url)
        registry.promote(
            "base",
            running.keep(registry, "base", tiny.BASE_INTENTS),
            "tests",
            "to have one",
        )
        running.write_flags(settings.flags_file, flag_config.plan_flag(flag_config.TIER_FLAG, "pro"))
        with Deployment(
            settings, redis_port=None, beat=False, state_dir=folder / "state", say=lambda *_: None
        ) as deployment:
            deployment.wait_ready()
            yield Staged(redis=redis, deployment=deployment, settings=settings)


def kill(redis: RedisServer) -> None:
    redis.kill()
    time.sleep(AWAY_S)
    redis.restart()


def restart(redis: RedisServer) -> None:
    redis.restart()


def pause(redis: RedisServer) -> None:
    redis.pause()
    time.sleep(AWAY_S)
    redis.resume()


def silence(redis: RedisServer) -> None:
    redis.pause()
    time.sleep(SILENT_S)
    redis.resume()


def cut(redis: RedisServer) -> None:
    with redis.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind)


def test_no_worker_listens_to_the_others(staged: Staged) -> None:
    with staged.redis.client() as redis:
        bindings = [bound for key in redis.scan_iter("*_kombu.binding.*") for bound in redis.smembers(key)]
    assert bindings
    assert not [bound for bound in bindings if bound.startswith(b"worker.#")]


@pytest.mark.parametrize("outage", [kill, restart, pause, silence, cut])
def test_workers_serve_again_soon_after_redis_is_back(
    staged: Staged, outage: Callable[[RedisServer], None]
) -> None:
    with Client(settings=staged.settings) as client:
        client.classify("hi")
    pids = staged.deployment.pids()
    outage(staged.redis)
    with Client(settings=staged.settings) as client:
        assert client.classify("hi", timeout_s=BACK_WITHIN_S).intent == "greeting"
    assert staged.deployment.pids() == pids


def test_a_producer_without_redis_gives_up_with_one_error_and_leaves_nothing_half_done(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTSMAN_REDIS_URL", staged.redis.url)
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"text": "hi"}\n')
    with Client(settings=staged.settings) as client:
        client.classify("hi")
        staged.redis.kill()
        try:
            for ask in (
                lambda: client.submit("hi"),
                lambda: client.train("base"),
                lambda: client.cancel("m"),
            ):
                with pytest.raises(errors.BrokerUnavailableError):
                    ask()
            for command in (["classify", "hi"], ["batch", str(file), "-o", str(out)], ["dead", "list"]):
                assert command_line.run(root.pointsman, command) == command_line.TRY_LATER
                said = capsys.readouterr().err
                assert said.count("error:") == 1
                assert "no Redis answers" in said
        finally:
            staged.redis.restart()
        assert not out.exists()
        with staged.redis.client() as redis:
            assert redis.zcard(keys.open_index) == 0
            assert not redis.exists(keys.training("base"))
        # The same client goes on.
        message = client.submit_message(checked_request(["hi"], [None]))
        assert message.result(BACK_WITHIN_S).intent == ["greeting"]
