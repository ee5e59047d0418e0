"""Settings, read from the environment once, when a process starts.

Every field can be set as `POINTSMAN_<FIELD>` in upper case. The meaning of a field stands under it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from redis import ConnectionPool
from redis.exceptions import RedisError

from pointsman_shared import errors

PREFIX: Final = "POINTSMAN_"
DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"
EXPECTED_URL: Final = (
    "expected redis://[USER:PASSWORD@]HOST:PORT/NUMBER, or rediss:// for TLS; "
    "special characters in a password must be percent-encoded"
)
NO_SENTINEL: Final = (
    "Sentinel is not supported: give one address that follows the primary, as docs/deployment.md describes"
)
ONLY_TLS_OPTIONS: Final = (
    f"{EXPECTED_URL}; no options but those of TLS, such as ssl_ca_certs, can stand behind a ?"
)
_DATABASE = re.compile(r"/?|/\d{1,4}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Settings(BaseModel):
    """The whole configuration of a producer or a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: SecretStr = SecretStr(DEFAULT_REDIS_URL)
    """The Redis of the queues, the outcomes, the progress and the flag configuration.
    `rediss://` for TLS; a password goes into the URL."""
    namespace: str = "pointsman"
    """The beginning of every key, queue and channel of this deployment: several deployments may share a Redis database."""
    registry_url: str = "models/registry"
    """The place of the trained versions: a folder or any fsspec URL."""
    data_dir: Path = Path("data")
    """The folder of `tiers.toml` and the training data it names."""
    flags_file: Path = Path("data/flags.json")
    """The flag configuration (config JSON v6) that serves when there is no ConfigCat SDK key."""
    configcat_sdk_key: SecretStr | None = None
    """The key of the ConfigCat config; without it, `flags_file` serves."""
    configcat_base_url: str | None = None
    """Another CDN or a ConfigCat proxy."""
    configcat_poll_interval_s: int = Field(default=15, ge=1)
    """How often each worker machine asks ConfigCat for a new configuration."""
    result_ttl_s: int = Field(default=86_400, ge=60)
    """How long outcomes stay readable."""
    visibility_timeout_s: int = Field(default=60, ge=10)
    """After this long, an unacknowledged classification message is delivered again. It may run for two thirds of it."""
    train_time_limit_s: int = Field(default=3_600, ge=1)
    """How long a training run may take."""
    train_schedule: dict[str, str] = Field(default_factory=dict)
    """When beat asks for training: a crontab of five fields per tier, as `base: 0 3 * * *; pro: 30 3 * * *`."""
    annotations: SecretStr | None = None
    """The source of fresh annotations before each training: a URL, or a command that prints JSON or JSON lines.
    `{tier}` in it stands for the tier's name."""
    notice_urls: SecretStr | None = None
    """The webhooks or chats that are notified of trainings, promotions and failures, separated by spaces."""
    shadow_attributes: tuple[str, ...] = ("plan",)
    """The user attributes by which comparisons are counted, separated by commas."""
    shadow_max_mib: int = Field(default=64, ge=0)
    """When the texts that wait to be shadowed take this much of Redis's memory, further ones are shed."""
    shadow_redactor: str = "pointsman_workers.shadow.redaction:mask"
    """The function that masks a sampled text: `module:function`, or `off` to keep no text."""
    shadow_retention_s: int = Field(default=2_592_000, ge=60)
    """How long a comparison is kept after its last text."""
    label_retention_s: int = Field(default=31_536_000, ge=60)
    """How long a label is kept: 365 days."""
    dead_letter_ttl_s: int = Field(default=1_209_600, ge=60)
    """How long dead letters are kept: 14 days."""
    queue_max_messages: int = Field(default=20_000, ge=1)
    """A queue longer than this takes no more bulk work."""

    @property
    def train_visibility_timeout_s(self) -> int:
        """After this long, an unacknowledged training is delivered again."""
        return 2 * self.train_time_limit_s

    @field_validator("redis_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        if (problem := problem_of_url(value.get_secret_value())) is not None:
            raise ValueError(problem)
        return value

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, value: str) -> str:
        if not _NAMESPACE.fullmatch(value):
            msg = "expected 1 to 40 letters, digits, '-' or '_'"
            raise ValueError(msg)
        return value

    @field_validator("shadow_attributes", mode="before")
    @classmethod
    def _split_attributes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("train_schedule", mode="before")
    @classmethod
    def _split_schedule(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        entries = [entry.partition(":") for entry in value.split(";") if entry.strip()]
        if any(not times.strip() for _, _, times in entries):
            msg = "expected TIER: CRONTAB, several separated by ';'"
            raise ValueError(msg)
        return {tier.strip(): times.strip() for tier, _, times in entries}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from the environment.

        Raises:
            SettingsError: A value cannot be used. The error does not quote it: it may be a secret.
        """
        environ = os.environ if environ is None else environ
        values = {
            field: environ[name]
            for field in cls.model_fields
            if (name := PREFIX + field.upper()) in environ and environ[name]
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            msg = "; ".join(
                f"{PREFIX}{str(detail['loc'][0]).upper()}: {detail['msg'].removeprefix('Value error, ')}"
                for detail in error.errors(include_url=False, include_input=False)
            )
            raise errors.SettingsError(msg) from None

    def environ(self) -> dict[str, str]:
        """Return the environment variables that reproduce these settings in another process."""
        return {
            PREFIX + field.upper(): _shown(value)
            for field in type(self).model_fields
            if (value := getattr(self, field)) is not None
        }


def problem_of_url(url: str) -> str | None:
    """Explain why a URL cannot be that of our Redis, or return None.

    The check comes early because later errors would quote a part of the URL, often of a password.
    """
    if url.partition("://")[0].lower() == "sentinel":
        return NO_SENTINEL
    try:
        parts = urlsplit(url)
        sound = parts.hostname and not parts.fragment and _DATABASE.fullmatch(parts.path)
        if parts.scheme not in {"redis", "rediss"} or not sound:
            return EXPECTED_URL
        # kombu takes no others.
        if not all(name.startswith("ssl_") for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            return ONLY_TLS_OPTIONS
        # redis-py rejects an option that it does not know when a connection is made; this opens none.
        pool = ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        return EXPECTED_URL
    return None


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return "; ".join(f"{name}: {entry}" for name, entry in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)
