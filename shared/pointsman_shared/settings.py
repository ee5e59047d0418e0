"""Settings, read from the environment once, at a process's start.

Every field can be set as `POINTSMAN_<FIELD>` in upper case. What a field means stands under it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from pointsman_shared import errors, urls
from pointsman_shared.wire import jobs

PREFIX = "POINTSMAN_"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


class Settings(BaseModel):
    """The whole configuration of a producer or a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: SecretStr = SecretStr(DEFAULT_REDIS_URL)
    """Outcomes, progress, the flag configuration and, unless `broker_url` is set, the queues.
    `rediss://` for TLS; a password goes into the URL."""
    broker_url: SecretStr | None = None
    """Where the queues are, if not in `redis_url`: any broker Celery supports."""
    registry_url: str = "models/registry"
    """Where trained versions are kept: a folder or any fsspec URL."""
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
    """After this long an unacknowledged classification message is delivered again."""
    train_visibility_timeout_s: int = Field(default=7_200, ge=60)
    """The same for training messages; longer than the longest training."""
    train_schedule: dict[str, str] = Field(default_factory=dict)
    """When beat asks for training: a crontab of five fields per tier, as `base: 0 3 * * *; pro: 30 3 * * *`."""
    train_catch_up_s: int = Field(default=21_600, ge=0)
    """How late a scheduled training that was missed is made up for, once, when beat is back."""
    annotations: SecretStr | None = None
    """Where fresh annotations come from before each training: a URL, or a command that prints them, as JSON lines,
    JSON, CSV or Rasa NLU YAML. `{tier}` in it stands for the tier's name."""
    notice_urls: SecretStr | None = None
    """Who is told of trainings, promotions and failures: URLs of webhooks or chats, separated by spaces."""
    texts_per_message: int = Field(default=500, ge=1, le=jobs.MAX_TEXTS)
    """How many texts bulk work puts into one message."""
    shadow_in_serving: bool = True
    """Whether serving workers do shadow work when nothing else waits; without it, workers of its own do."""
    shadow_attributes: tuple[str, ...] = ("plan",)
    """The user attributes by which comparisons are counted, separated by commas."""
    shadow_max_mib: int = Field(default=64, ge=0)
    """When the texts that wait to be shadowed take so much of Redis's memory, further ones are shed."""
    shadow_max_memory: float = Field(default=0.8, gt=0, le=1)
    """When Redis uses this share of its memory, shadow work is shed."""
    shadow_max_age_s: int = Field(default=3_600, ge=1)
    """Texts that waited longer to be shadowed are shed."""
    shadow_time_limit_s: int = Field(default=5, ge=1)
    """Texts that keep the candidate busy for longer count as failed."""
    shadow_samples: int = Field(default=1_000, ge=0, le=20_000)
    """How many disagreements are kept of each pair, and a quarter as many agreements; 0 keeps none."""
    shadow_redactor: str = "pointsman_workers.shadow.redaction:mask"
    """What masks a sampled text: `module:function`, or `off` to keep none."""
    shadow_retention_s: int = Field(default=2_592_000, ge=60)
    """How long a comparison is kept after its last text."""

    @field_validator("shadow_attributes", mode="before")
    @classmethod
    def _split_attributes(cls, value: object) -> object:
        return (
            [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
        )

    max_starts: int = Field(default=3, ge=1)
    """How often a message is begun before it counts as poison and becomes a dead letter."""
    classify_time_limit_s: int = Field(default=40, ge=1)
    """How long a classification message may take; shorter than `visibility_timeout_s`."""
    train_time_limit_s: int = Field(default=3_600, ge=1)
    """How long a training run may take; shorter than `train_visibility_timeout_s`."""
    reconcile_interval_s: float = Field(default=5, gt=0)
    """How often the workers look for messages that were lost on their way."""
    dead_letter_ttl_s: int = Field(default=1_209_600, ge=60)
    """How long dead letters are kept: 14 days."""
    dead_letters_max: int = Field(default=10_000, ge=1)
    """How many dead letters are kept; the oldest go first."""
    queue_max_messages: int = Field(default=20_000, ge=1)
    """A queue longer than this takes no more bulk work."""
    queue_max_age_s: int = Field(default=3_600, ge=1)
    """A queue whose next message has waited longer than this takes no more bulk work."""
    redis_max_fill: float = Field(default=0.85, gt=0, le=1)
    """Where Redis has a `maxmemory`: the share of it above which nothing more is submitted."""
    queue_patience_s: float = Field(default=30, ge=0)
    """How long a producer waits for room before it gives up with `QueueFullError`."""

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        check = urls.problem_of_redis if info.field_name == "redis_url" else urls.problem_of_broker
        if value is not None and (problem := check(value.get_secret_value())) is not None:
            raise ValueError(problem)
        return value

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
            SettingsError: A value cannot be used. The value is not quoted: it may be a secret.
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
        """Give the environment variables that reproduce these settings in another process."""
        return {
            PREFIX + field.upper(): _shown(value)
            for field in type(self).model_fields
            if (value := getattr(self, field)) is not None
        }


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return "; ".join(f"{name}: {entry}" for name, entry in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
