"""Settings from the environment."""

import pytest

from pointsman_producer.client.client import Client
from pointsman_shared import errors
from pointsman_shared.settings import Settings


def test_settings_survive_the_trip_to_another_process() -> None:
    environ = {
        "POINTSMAN_REDIS_URL": "redis://:secret@127.0.0.1:7000/1",
        "POINTSMAN_TRAIN_SCHEDULE": "base: 0 3 * * *; pro: 30 3 * * 1-5",
        "POINTSMAN_RESULT_TTL_S": "120",
    }
    settings = Settings.from_env(environ)
    assert settings.train_schedule == {"base": "0 3 * * *", "pro": "30 3 * * 1-5"}
    assert Settings.from_env(settings.environ()) == settings


def test_an_unset_or_empty_variable_means_the_default() -> None:
    assert Settings.from_env({"POINTSMAN_REDIS_URL": "", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POINTSMAN_RESULT_TTL_S", "soon"),
        ("POINTSMAN_QUEUE_MAX_MESSAGES", "0"),
        ("POINTSMAN_TRAIN_SCHEDULE", "base"),
        ("POINTSMAN_NAMESPACE", "a:b"),
        ("POINTSMAN_NAMESPACE", "a.b"),
        ("POINTSMAN_NAMESPACE", "a*"),
        ("POINTSMAN_NAMESPACE", "two words"),
        ("POINTSMAN_NAMESPACE", "n" * 41),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(errors.SettingsError, match=name):
        Settings.from_env({name: value})


def test_a_namespace_that_cannot_be_used_is_refused_with_what_is_expected() -> None:
    with pytest.raises(errors.SettingsError, match=r"^POINTSMAN_NAMESPACE: expected 1 to 40 letters, digits"):
        Settings.from_env({"POINTSMAN_NAMESPACE": "müller"})
    assert Settings.from_env({"POINTSMAN_NAMESPACE": "Staging_2-b"}).namespace == "Staging_2-b"


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env(
        {"POINTSMAN_CONFIGCAT_SDK_KEY": "secret-key", "POINTSMAN_REDIS_URL": "redis://:pw@h/0"}
    )
    assert "secret-key" not in repr(settings)
    assert "pw" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "http://secret@nowhere",
        "redis://nowhere:secret/0",
        "redis://:se#cret@nowhere/0",
        "redis://:pass@secret/word@nowhere/0",
        "redis://:se?cret@nowhere/0",
        "redis://nowhere/0?secret=1",
        "redis://nowhere/0?password=secret",
        "redis://nowhere/0?protocol=3",
        "redis://nowhere/0?db=3",
        "redis://nowhere:99999/0",
        "unix:///secret.sock",
        "sentinel://:secret@nowhere/0",
        "nowhere:6379",
    ],
)
def test_a_redis_url_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(errors.SettingsError, match="POINTSMAN_REDIS_URL") as caught:
        Settings.from_env({"POINTSMAN_REDIS_URL": url})
    assert "secret" not in str(caught.value)


def test_a_client_refuses_such_a_url_too() -> None:
    with pytest.raises(errors.SettingsError, match="Sentinel") as caught:
        Client("sentinel://:secret@nowhere/0")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h:7000/", "rediss://u:p%40@[::1]:6380/15?ssl_cert_reqs=none"]
)
def test_a_redis_url_that_can_be_used_is_taken_as_it_is(url: str) -> None:
    assert Settings.from_env({"POINTSMAN_REDIS_URL": url}).redis_url.get_secret_value() == url
