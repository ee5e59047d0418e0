"""The Compose file: accepted by the tool, safe by default, and its services do run and end as it says.

There is no Docker engine in a test run. So each service's own command is started as a process, in the environment
that the file and the Dockerfile give it, against a Redis that the file's own command started.
"""

import base64
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from pointsman_shared.settings import PREFIX, Settings
from tests.support import compose
from tests.support.compose import Host, Service

SECRETS = {"REDIS_PASSWORD": "sesame7", "FLOWER_BASIC_AUTH": "watcher:letmein"}
SERVICES = compose.services({**SECRETS, "REDIS_MAXMEMORY": "64mb"})
OURS = sorted(set(SERVICES) - {"redis"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "data").symlink_to(compose.ROOT / "data")
    (tmp_path / "state").mkdir()
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return Host(folder=tmp_path, redis_port=one.getsockname()[1], flower_port=two.getsockname()[1])


@pytest.fixture
def redis_service(host: Host) -> Iterator[Service]:
    with Service(SERVICES["redis"], host) as service:
        service.wait_until_healthy()
        yield service


def docker_compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("docker-compose")
    if tool is None:
        pytest.skip("docker-compose is not installed")
    environ = {"PATH": os.environ["PATH"], **variables}
    command = [tool, "--file", str(compose.FILE), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_docker_compose_accepts_the_file() -> None:
    checked = docker_compose("config", "--quiet", **SECRETS)

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_docker_compose_refuses_to_run_without_a_secret(missing: str) -> None:
    checked = docker_compose(
        "config", "--quiet", **{name: SECRETS[name] for name in SECRETS if name != missing}
    )

    assert checked.returncode != 0
    assert missing in checked.stderr


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_no_secret_has_a_default(missing: str) -> None:
    with pytest.raises(ValueError, match=r"^set "):
        compose.services({name: SECRETS[name] for name in SECRETS if name != missing})


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_passed_on_but_those_the_file_fixes(name: str) -> None:
    fields = set(Settings.model_fields) - {"redis_url", "data_dir", "flags_file"}
    asked = {PREFIX + field.upper(): f"value of {field}" for field in fields}
    given = compose.services({**SECRETS, **asked})[name]["environment"]

    assert {variable: given.get(variable) for variable in asked} == asked


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_watched_restarted_and_without_privileges(name: str) -> None:
    service = SERVICES[name]

    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_reached_from_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_all_processes_of_pointsman_run_one_image_of_this_version() -> None:
    project = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["project"]

    assert {SERVICES[name]["image"] for name in OURS} == {f"pointsman:{project['version']}"}
    assert f'org.opencontainers.image.version="{project["version"]}"' in compose.DOCKERFILE.read_text()


def test_nothing_runs_as_root() -> None:
    assert compose.dockerfile("USER") == ["pointsman"]
    assert SERVICES["redis"]["user"] == "redis"
    assert not any("user" in SERVICES[name] for name in OURS)


def test_the_dockerfile_copies_what_exists_and_reaches_the_builder() -> None:
    copied = [
        source
        for line in compose.dockerfile("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    sent = {
        line.removeprefix("!").split("/")[0]
        for line in (compose.ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert set(copied) == sent
    assert all((compose.ROOT / source).exists() for source in copied)


def test_redis_wants_a_password_and_forgets_nothing(redis_service: Service, host: Host) -> None:
    with redis.Redis(port=host.redis_port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()

    with redis.Redis(port=host.redis_port, password=SECRETS["REDIS_PASSWORD"]) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * 2**20)}


def test_redis_shows_whether_it_is_well_and_ends_when_asked(redis_service: Service) -> None:
    _hangs_and_ends(redis_service)


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_service_becomes_healthy_shows_when_it_hangs_and_ends_when_asked(
    name: str, redis_service: Service, host: Host
) -> None:
    with Service(SERVICES[name], host) as service:
        service.wait_until_healthy()
        _hangs_and_ends(service)


def _hangs_and_ends(service: Service) -> None:
    service.hang()
    assert not service.healthy()
    service.go_on()
    assert service.end() >= 0, "a signal killed it"


@pytest.mark.slow
def test_flower_shows_nothing_without_a_login(redis_service: Service, host: Host) -> None:
    login = base64.b64encode(SECRETS["FLOWER_BASIC_AUTH"].encode()).decode()
    with Service(SERVICES["flower"], host) as flower:
        flower.wait_until_healthy()

        assert _status(host, "/workers", {}) == http.HTTPStatus.UNAUTHORIZED
        assert _status(host, "/api/tasks", {}) == http.HTTPStatus.UNAUTHORIZED
        assert _status(host, "/workers", {"Authorization": f"Basic {login}"}) == http.HTTPStatus.OK


def _status(host: Host, path: str, headers: dict[str, Any]) -> int:
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", host.flower_port, timeout=20)
    ) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
