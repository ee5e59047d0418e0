"""What a deployment checks before it starts, and which programs it is made of."""

import re
import socket
from pathlib import Path

import pytest

from pointsman_producer.deployment import embedded_redis, launcher
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import errors
from pointsman_shared.settings import Settings

SDK_KEY = "hidden-word"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tiers.toml").touch()
    return Settings.model_validate({"data_dir": tmp_path, "configcat_sdk_key": SDK_KEY})


def deployment(settings: Settings, tmp_path: Path, **options: object) -> Deployment:
    arguments: dict[str, object] = {"redis_port": embedded_redis.free_port(), **options}
    return Deployment(settings, state_dir=tmp_path / "state", say=lambda *_: None, **arguments)  # type: ignore[arg-type]


def test_a_folder_without_tiers_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path / "nowhere"})
    with pytest.raises(errors.SettingsError, match=r"clone of the repository.*POINTSMAN_DATA_DIR"):
        deployment(settings, tmp_path).start()
    assert local_state.running(tmp_path / "state") is None


@pytest.mark.parametrize(
    ("option", "remedy"),
    [("redis_port", errors.Remedy.OTHER_REDIS_PORT), ("flower_port", errors.Remedy.OTHER_FLOWER_PORT)],
)
def test_a_taken_port_is_named_with_what_helps(
    settings: Settings, tmp_path: Path, option: str, remedy: errors.Remedy
) -> None:
    with socket.socket() as listener:
        listener.bind((embedded_redis.HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(errors.SettingsError, match=f"port {port}") as refusal:
            deployment(settings, tmp_path, **{option: port}).start()
    assert refusal.value.remedy == remedy


def test_one_port_for_two_programs_is_refused_and_no_state_folder_is_left(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(errors.SettingsError, match="port 6400 cannot be that of Redis and that of Flower"):
        deployment(settings, tmp_path, redis_port=6400, flower_port=6400).start()
    assert not (tmp_path / "state").exists()


def test_a_restarted_redis_keeps_its_password(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "redis"
    folder.mkdir(parents=True)
    before = deployment(settings, tmp_path, redis_port=6400).settings.redis_url.get_secret_value()
    (password,) = re.findall(r":([\w-]{32})@", before)
    embedded_redis.command(Path("redis-server"), port=6400, folder=folder, password=password)
    assert deployment(settings, tmp_path, redis_port=6400).settings.redis_url.get_secret_value() == before
    (folder / embedded_redis.CONFIG_NAME).write_text("requirepass short\n")
    assert deployment(settings, tmp_path, redis_port=6400).settings.redis_url.get_secret_value() != before


def test_a_start_that_failed_leaves_the_folder_free(settings: Settings, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind((embedded_redis.HOST, 0))
        listener.listen()
        with pytest.raises(errors.SettingsError):
            deployment(settings, tmp_path, redis_port=listener.getsockname()[1]).start()
    with local_state.claim(tmp_path / "state"):
        pass


def test_a_second_deployment_in_the_same_folder_is_refused(settings: Settings, tmp_path: Path) -> None:
    with local_state.claim(tmp_path / "state"), pytest.raises(errors.BusyError):
        deployment(settings, tmp_path).start()


def test_an_embedded_redis_takes_the_place_of_the_one_in_the_settings(
    settings: Settings, tmp_path: Path
) -> None:
    here = deployment(settings, tmp_path, redis_port=6400)
    url = here.settings.redis_url.get_secret_value()
    assert re.fullmatch(r"redis://:[\w-]{32}@127\.0\.0\.1:6400/0", url)
    assert deployment(settings, tmp_path, redis_port=6400).settings.redis_url.get_secret_value() != url


def test_without_an_embedded_redis_the_settings_stay(settings: Settings, tmp_path: Path) -> None:
    assert deployment(settings, tmp_path, redis_port=None).settings == settings


def test_the_programs_are_the_workers_and_what_was_asked_for(settings: Settings, tmp_path: Path) -> None:
    def names(**options: object) -> list[str]:
        return [program.name for program in deployment(settings, tmp_path, **options).programs()]

    assert names(beat=False) == ["serving", "trainer"]
    assert names(flower_port=5556) == ["serving", "trainer", "beat", "flower"]


def test_secrets_go_by_the_environment_and_never_on_a_command_line(
    settings: Settings, tmp_path: Path
) -> None:
    for program in deployment(settings, tmp_path, flower_port=5556).programs():
        assert program.environ["POINTSMAN_CONFIGCAT_SDK_KEY"] == SDK_KEY
        assert SDK_KEY not in " ".join(program.command)


def test_workers_shut_down_softly_on_sigterm(settings: Settings, tmp_path: Path) -> None:
    programs = {
        program.name: program for program in deployment(settings, tmp_path, flower_port=5556).programs()
    }
    soft = {name for name, program in programs.items() if program.environ.get("REMAP_SIGTERM") == "SIGQUIT"}
    assert soft == {"serving", "trainer"}


def test_everything_listens_on_the_loopback_interface_only(settings: Settings, tmp_path: Path) -> None:
    programs = {
        program.name: program for program in deployment(settings, tmp_path, flower_port=5556).programs()
    }
    assert "--address=127.0.0.1" in programs["flower"].command
    # It keeps tasks in memory.
    assert "--max_tasks=10000" in programs["flower"].command


def test_a_deployment_that_was_never_started_can_be_stopped(settings: Settings, tmp_path: Path) -> None:
    here = deployment(settings, tmp_path)
    here.stop()
    here.kill()
    assert here.pids() == {}


def test_missing_packages_are_named_with_the_way_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "WORKER_PACKAGES", ("celery", "no_such_package"))
    with pytest.raises(errors.SettingsError, match=r"\(no_such_package\): pip install 'pointsman\[all\]'"):
        launcher.require_worker_packages()
