"""Fetching flag configurations from ConfigCat, in the parent process of a worker."""

import logging
import threading
from typing import Final

from configcatclient import configcatclient, configcatoptions, interfaces, pollingmode

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store.keys import Keys
from pointsman_workers.flags import config_json, configcat_logs
from pointsman_workers.flags import sources as config_sources

logger = logging.getLogger(__name__)

HTTP_TIMEOUT_S: Final = 5.0
FIRST_FETCH_WAIT_S: Final = 6.0


class FlagPoller:
    """The one client of a worker that talks to ConfigCat, in the parent process.

    It writes configurations to the store, from which the child processes read them. It also writes after a poll that
    found no change: the time shows that polling works.
    """

    def __init__(
        self, settings: Settings, store: config_sources.KeyValue, *, http_timeout_s: float = HTTP_TIMEOUT_S
    ) -> None:
        self._settings = settings
        self._cache = _StoreCache(store, Keys(settings.namespace).flag_config)
        self._http_timeout_s = http_timeout_s
        self._client: configcatclient.ConfigCatClient | None = None

    def start(self, wait_s: float = FIRST_FETCH_WAIT_S) -> None:
        """Start polling; if the store is empty, wait for the first answer, so that no job is decided without one."""
        if self._client is not None:
            return
        configcat_logs.quieten()
        # At DEBUG the HTTP client logs URLs, and they hold the SDK key.
        logging.getLogger("urllib3").setLevel(logging.INFO)
        answered = threading.Event()
        self._client = self._make_client(configcatoptions.Hooks(on_client_ready=answered.set))
        if self._cache.is_empty():
            answered.wait(wait_s)

    def close(self) -> None:
        """Stop polling. A running request ends later and writes nothing."""
        self._cache.closed = True
        if self._client is not None:
            self._client.close()
            self._client = None

    def _make_client(self, hooks: configcatoptions.Hooks) -> configcatclient.ConfigCatClient:
        key = self._settings.configcat_sdk_key
        options = configcatoptions.ConfigCatOptions(
            base_url=self._settings.configcat_base_url,
            polling_mode=pollingmode.PollingMode.auto_poll(self._settings.configcat_poll_interval_s),
            config_cache=self._cache,
            connect_timeout_seconds=self._http_timeout_s,
            read_timeout_seconds=self._http_timeout_s,
            hooks=hooks,
        )
        try:
            client: configcatclient.ConfigCatClient = configcatclient.ConfigCatClient.get(
                key.get_secret_value().strip() if key else None, options
            )
        except interfaces.ConfigCatClientException:
            msg = (
                "POINTSMAN_CONFIGCAT_SDK_KEY is missing or does not have the form of a ConfigCat SDK key: copy it from "
                "https://app.configcat.com/sdkkey, or unset it to serve the flags of a file"
            )
            raise errors.SettingsError(msg) from None  # the cause quotes the key
        return client


class _StoreCache(interfaces.ConfigCache):
    """The polling client's cache: the store, protected from answers that are not a configuration."""

    def __init__(self, store: config_sources.KeyValue, key: str) -> None:
        self._store = store
        self._key = key
        self._refused: str | None = None
        self.closed = False

    def is_empty(self) -> bool:
        try:
            return self._store.get(self._key) is None
        except Exception:  # any client may be behind the port
            return True

    def get(self, key: str) -> str | None:  # noqa: ARG002  # the SDK's interface
        raw = self._store.get(self._key)
        return config_json.decode(raw) if raw else None

    def set(self, key: str, value: str) -> None:  # noqa: ARG002  # the SDK's interface
        if self.closed:
            return
        try:
            entry = config_sources.ConfigEntry.parse(value)
        except errors.InvalidDataError as error:
            self._refuse(str(error))
            return
        self._store.set(self._key, entry.serialize().encode())
        self._store.set(config_sources.refusal_key(self._key), b"")
        self._refused = None
        configcat_logs.FETCH_FAILURES.clear()

    def _refuse(self, why: str) -> None:
        if why != self._refused:
            refusal = f"ConfigCat's answer is refused: {why}"
            logger.warning("%s; the last good configuration goes on serving", refusal)
            self._store.set(config_sources.refusal_key(self._key), refusal.encode())
            self._refused = why
