"""The adapter to ConfigCat: evaluating flags in one process.

ConfigCat's SDK does not survive a fork: a client made before it keeps a dead poller. So the parent process of a worker
holds the one client that talks to ConfigCat (`configcat_poller`), and each process evaluates with a client of its own,
which starts no thread and makes no request.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

import orjson
from configcatclient import configcatclient, configcatoptions, evaluationdetails, interfaces, pollingmode
from configcatclient import user as sdk_user

from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.flags import configcat_logs
from pointsman_workers.flags import sources as config_sources
from pointsman_workers.flags.provider import (
    DEFAULT,
    ERROR,
    NO_CONFIG,
    PERCENTAGE,
    TARGETING_RULE,
    FlagState,
    Value,
)

logger = logging.getLogger(__name__)

MEMO_S: Final = 1.0
# The decisions that are remembered while the configuration stays take some MiB at most, and a large user none.
MOST_BYTES: Final = 4 << 20
MOST_BYTES_OF_A_USER: Final = 512
_BYTES_OF_A_DECISION: Final = 150


class ConfigCatFlags:
    """The flags of one process. Create it after the fork."""

    def __init__(
        self,
        source: config_sources.ConfigSource,
        *,
        on_refusal: Callable[[str | None], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        configcat_logs.quieten()
        self._source = source
        self._memo = _Memo(source, on_refusal, clock)
        self._client = _offline_client(self._memo)
        # Protects refresh and evaluation together, so that the etag belongs to the decision.
        self._lock = threading.Lock()
        self._complained: set[tuple[str, str]] = set()
        self._targeted: tuple[str, dict[str, bool]] = ("", {})
        self._decisions = _Decisions()

    def is_targeted(self, key: str) -> bool | None:
        """Return whether a flag's value can depend on the user; None if there is no such flag."""
        with self._lock:
            entry = self._memo.refresh()
        if entry is None:
            return None
        if self._targeted[0] != entry.etag:
            flags = json.loads(entry.document)["f"]
            self._targeted = (
                entry.etag,
                {name: bool(flag.get("r") or flag.get("p")) for name, flag in flags.items()},
            )
        return self._targeted[1].get(key)

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        """Evaluate a flag; always returns a decision, and raises only that the job's time is up.

        The default serves without a configuration, or if the flag has another type; an integer satisfies a float
        default. A percentage inside a targeting rule has the reason `targeting_rule`.
        """
        entry = None
        try:
            with self._lock:
                entry = self._memo.refresh()
                if entry is None:
                    return jobs.FlagDecision(key=key, value=default, reason=NO_CONFIG)
                asked = _identity(key, default, user)
                if (known := self._decisions.get(entry.etag, asked)) is not None:
                    return known
                details = self._client.get_value_details(key, default, _translate(user))
                if details.error is None and (value := _typed(details.value, default)) is not None:
                    decision = jobs.FlagDecision(
                        key=key,
                        value=value,
                        variation_id=details.variation_id,
                        reason=_reason(details),
                        etag=entry.etag,
                    )
                    return self._decisions.keep(asked, decision)
        except Exception as error:  # a flag must never cost a job; the error's text may quote the user
            if errors.is_time_up(error):
                raise
            kind = type(error).__name__
        else:
            kind = f"it is missing, malformed or not of type {type(default).__name__}"
        etag = entry.etag if entry else None
        self._complain(key, etag or "none", kind)
        return jobs.FlagDecision(key=key, value=default, reason=ERROR, etag=etag)

    def state(self) -> FlagState:
        """Return which configuration serves, its age, and what keeps a newer one from serving."""
        with self._lock:
            entry = self._memo.refresh()
        return FlagState(
            source=self._source.name,
            etag=entry.etag if entry else None,
            fetched_at=entry.fetched_at if entry else None,
            problem=self._source.problem,
        )

    def close(self) -> None:
        """Close the SDK's client."""
        self._client.close()

    def _complain(self, key: str, etag: str, what: str) -> None:
        """Log once per configuration that a flag cannot be evaluated."""
        if (key, etag) not in self._complained:
            self._complained = {each for each in self._complained if each[1] == etag} | {(key, etag)}
            logger.warning(
                "flag %s cannot be evaluated with configuration %s, its default serves: %s", key, etag, what
            )


class _Decisions:
    """The decisions under one configuration: what a flag says of a user depends on nothing else."""

    def __init__(self) -> None:
        self._etag: str | None = None
        self._known: dict[bytes, jobs.FlagDecision] = {}
        self._different: dict[jobs.FlagDecision, jobs.FlagDecision] = {}
        self._bytes = 0

    def get(self, etag: str | None, asked: bytes | None) -> jobs.FlagDecision | None:
        """Return a decision that was kept under this configuration."""
        if etag != self._etag:
            self._forget()
            self._etag = etag
        return None if asked is None else self._known.get(asked)

    def keep(self, asked: bytes | None, decision: jobs.FlagDecision) -> jobs.FlagDecision:
        """Keep a decision, in the place of all others if there are too many; return the one that equal ones share."""
        if asked is None:
            return decision
        size = _BYTES_OF_A_DECISION + len(asked)
        if self._bytes + size > MOST_BYTES:
            self._forget()
        self._bytes += size
        self._known[asked] = shared = self._different.setdefault(decision, decision)
        return shared

    def _forget(self) -> None:
        self._known.clear()
        self._different.clear()
        self._bytes = 0


class _Memo(interfaces.ConfigCache):
    """The cache that the SDK reads at each evaluation: in memory, refreshed from the source once a second."""

    def __init__(
        self,
        source: config_sources.ConfigSource,
        on_refusal: Callable[[str | None], object],
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._on_refusal = on_refusal
        self._refusal: str | None = None
        self._clock = clock
        self._entry: config_sources.ConfigEntry | None = None
        self._text: str | None = None
        self._problem: str | None = None
        self._due = clock()

    def refresh(self) -> config_sources.ConfigEntry | None:
        if self._clock() >= self._due:
            self._take(self._source.read())
            self._due = self._clock() + MEMO_S
        return self._entry

    def _take(self, entry: config_sources.ConfigEntry | None) -> None:
        # The SDK parses every text it has not seen; a new time alone is not worth that.
        if entry is not None and (self._entry is None or entry.etag != self._entry.etag):
            self._text = entry.serialize()
            logger.info("flag configuration %s serves", entry.etag)
        self._entry = entry
        if self._source.problem != self._problem:
            self._problem = self._source.problem
            logger.warning("flag configuration: %s", self._problem or "the problem is over")
        if self._source.refusal != self._refusal:
            self._refusal = self._source.refusal
            self._on_refusal(self._refusal)

    def get(self, key: str) -> str | None:  # noqa: ARG002  # the SDK's interface
        return self._text

    def set(self, key: str, value: str) -> None:
        """An offline client has nothing to write."""


def _offline_client(cache: _Memo) -> configcatclient.ConfigCatClient:
    """Make a client that only evaluates.

    Its key is random: the SDK keeps one client per key, and with the real key a forked process would get the parent's
    client, whose poller died in the fork.
    """
    key = f"configcat-sdk-1/{secrets.token_hex(11)}/{secrets.token_hex(11)}"
    options = configcatoptions.ConfigCatOptions(
        polling_mode=pollingmode.PollingMode.manual_poll(), config_cache=cache, offline=True
    )
    client: configcatclient.ConfigCatClient = configcatclient.ConfigCatClient.get(key, options)
    return client


def _identity(key: str, default: Value, user: jobs.User | None) -> bytes | None:
    """Return the bytes that tell one question from another; None if the user is too large to remember, or cannot be encoded."""
    about = None if user is None else [user.id, user.email, user.country, user.custom]
    try:
        asked = orjson.dumps([key, type(default).__name__, about])
    except TypeError:  # half of a surrogate pair
        return None
    return asked if len(asked) <= MOST_BYTES_OF_A_USER else None


def _translate(user: jobs.User | None) -> sdk_user.User | None:
    """Return the SDK's own type: it ignores targeting for any other."""
    return None if user is None else sdk_user.User(user.id, user.email, user.country, user.custom)


def _typed(value: Value, default: Value) -> Value | None:
    """Return the value in the default's type, or None if it has another type."""
    if type(default) is float and type(value) is int:
        return float(value)
    return value if type(value) is type(default) else None


def _reason(details: evaluationdetails.EvaluationDetails) -> str:
    if details.matched_targeting_rule is not None:
        return TARGETING_RULE
    return DEFAULT if details.matched_percentage_option is None else PERCENTAGE
