"""A small Celery application whose prefork children evaluate flags, as Pointsman's workers do."""

import functools
import os
import threading
from typing import Any

from celery import signals

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_workers.flags import configcat, configcat_poller
from pointsman_workers.flags import sources as config_sources
from tests.support import key_values
from tests.support.default_keys import keys

HTTP_TIMEOUT_S = 1.0

configuration = Settings.from_env()
app = broker_config.make_app(configuration)


@signals.worker_init.connect
def start_polling(**_: Any) -> None:
    """Poll in the parent, before the children are forked."""
    poller = configcat_poller.FlagPoller(configuration, _store(), http_timeout_s=HTTP_TIMEOUT_S)
    poller.start()
    signals.worker_shutdown.connect(lambda **_: poller.close(), weak=False)


@app.task(name="test.decide")
def decide(plan: str) -> dict[str, Any]:
    """Evaluate the tier flag for a user on the plan, and tell which process did it."""
    decision = _flags().decide("proModel", False, jobs.User(id="anna-7", custom={"plan": plan}))
    threads = [thread.name for thread in threading.enumerate()]
    return {"pid": os.getpid(), "threads": threads, "decision": decision.model_dump()}


@functools.cache
def _flags() -> configcat.ConfigCatFlags:
    """Make the evaluator on its first use, which is after the fork."""
    return configcat.ConfigCatFlags(config_sources.StoreSource(_store(), keys.flag_config))


def _store() -> key_values.RedisStore:
    return key_values.RedisStore(configuration.redis_url.get_secret_value())
