"""Commands find the deployment of their folder."""

import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from pointsman_producer.deployment import state as local_state
from pointsman_shared import errors
from pointsman_shared.settings import Settings

URL = "redis://:secret@127.0.0.1:6391/0"
HERE = Settings.model_validate({"redis_url": URL, "namespace": "team"})


def test_a_running_deployment_is_found_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, HERE)
        assert local_state.running(tmp_path) == HERE
    assert local_state.running(tmp_path) is None


def test_nothing_runs_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert local_state.running(tmp_path / "nowhere") is None


def test_a_deployment_that_is_still_starting_is_not_found(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        assert local_state.running(tmp_path) is None


def test_a_folder_has_one_deployment_at_a_time(tmp_path: Path) -> None:
    with (
        local_state.claim(tmp_path),
        pytest.raises(errors.BusyError, match="already runs"),
        local_state.claim(tmp_path),
    ):
        pass


def test_a_file_of_another_version_is_ignored(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        (tmp_path / local_state.FILE_NAME).write_text(json.dumps({"pid": 1, "unheard": "of"}))
        assert local_state.running(tmp_path) is None


def test_only_this_user_may_read_the_file(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, HERE)
        assert stat.S_IMODE((tmp_path / local_state.FILE_NAME).stat().st_mode) == 0o600


def test_a_state_folder_is_closed_to_others_even_if_it_was_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with local_state.claim(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_the_password_of_a_redis_that_is_not_ours_is_not_written(tmp_path: Path) -> None:
    theirs = Settings.model_validate({"redis_url": "redis://anna:secret@host:6379/0"})
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, theirs, is_ours=False)
        assert "secret" not in (tmp_path / local_state.FILE_NAME).read_text()
        assert local_state.settings({}, tmp_path).redis_url.get_secret_value() == "redis://host:6379/0"


def test_the_settings_point_to_the_deployment_of_the_folder(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, HERE)
        assert local_state.settings({}, tmp_path).redis_url.get_secret_value() == URL


def test_the_environment_comes_before_the_folder(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, HERE)
        settings = local_state.settings({local_state.REDIS_URL_VARIABLE: "redis://elsewhere/0"}, tmp_path)
    assert settings.redis_url.get_secret_value() == "redis://elsewhere/0"


def test_the_namespace_of_the_folder_holds_unless_the_environment_names_one(tmp_path: Path) -> None:
    with local_state.claim(tmp_path):
        local_state.announce(tmp_path, HERE)
        assert local_state.settings({}, tmp_path).namespace == "team"
        named = local_state.settings({local_state.NAMESPACE_VARIABLE: "mine"}, tmp_path)
        elsewhere = local_state.settings({local_state.REDIS_URL_VARIABLE: "redis://elsewhere/0"}, tmp_path)
    assert (named.namespace, named.redis_url) == ("mine", HERE.redis_url)
    assert elsewhere.namespace == Settings().namespace


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://host:6379/0"),
        ("rediss://anna:sec@ret@host/1?password=x", "rediss://host/1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("unix:///run/redis.sock?password=x", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    settings = Settings.model_construct(redis_url=SecretStr(url))
    assert local_state.shown_url(settings) == shown
