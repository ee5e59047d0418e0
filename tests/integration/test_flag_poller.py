"""The client in a worker's parent that brings the flag configuration from ConfigCat into the store."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pointsman_shared import settings
from pointsman_workers.flags import configcat_poller
from pointsman_workers.flags import sources as config_sources
from tests.support import cdn, deadlines, flag_config, key_values
from tests.support.default_keys import keys

PRO = flag_config.plan_flag("proModel", "pro")
NO_PLAN = flag_config.plan_flag("proModel", "no such plan")


def make_poller(
    server: cdn.Cdn, store: config_sources.KeyValue, *, http_timeout_s: float = 1.0
) -> configcat_poller.FlagPoller:
    configuration = settings.Settings.model_validate(
        {
            # With the line break that a file of secrets ends with.
            "configcat_sdk_key": f"{server.sdk_key}\n",
            "configcat_base_url": server.url,
            "configcat_poll_interval_s": 1,
        }
    )
    return configcat_poller.FlagPoller(configuration, store, http_timeout_s=http_timeout_s)


@contextmanager
def polling(server: cdn.Cdn, store: config_sources.KeyValue) -> Iterator[configcat_poller.FlagPoller]:
    poller = make_poller(server, store)
    poller.start()
    yield poller
    poller.close()


@pytest.fixture
def store() -> key_values.DictStore:
    return key_values.DictStore()


@pytest.fixture
def server() -> Iterator[cdn.Cdn]:
    with cdn.Cdn(PRO) as server:
        yield server


def stored(store: key_values.DictStore) -> Any:
    raw = store.values.get(keys.flag_config)
    return None if raw is None else json.loads(config_sources.ConfigEntry.parse(raw.decode()).document)


def test_the_first_configuration_is_there_when_the_start_returns(
    server: cdn.Cdn, store: key_values.DictStore
) -> None:
    with polling(server, store):
        assert stored(store) == PRO


def test_what_was_fetched_is_what_a_child_reads(server: cdn.Cdn, store: key_values.DictStore) -> None:
    with polling(server, store):
        entry = config_sources.StoreSource(store, keys.flag_config).read()
    assert entry is not None
    assert (entry.etag, json.loads(entry.document)) == (server.etag, PRO)


def test_a_restart_asks_only_whether_the_known_configuration_changed(
    server: cdn.Cdn, store: key_values.DictStore
) -> None:
    with polling(server, store):
        pass
    with polling(server, store):
        server.wait_for_requests(1)
    assert server.requests[-1].if_none_match == server.etag
    assert server.requests[-1].status == 304


def test_a_store_that_forgot_everything_is_filled_again_by_an_unchanged_configuration(
    server: cdn.Cdn, store: key_values.DictStore
) -> None:
    with polling(server, store):
        store.values.clear()
        deadlines.eventually(lambda: stored(store) == PRO, "the configuration is stored again")
    assert server.statuses().count(200) == 1


def test_every_successful_poll_makes_the_entry_younger(server: cdn.Cdn, store: key_values.DictStore) -> None:
    source = config_sources.StoreSource(store, keys.flag_config)
    with polling(server, store):
        first = source.read()
        assert first is not None
        deadlines.eventually(
            lambda: (now := source.read()) is not None and now.fetched_at > first.fetched_at,
            "a younger entry",
        )


@pytest.mark.parametrize("fault", [cdn.Fault.WRONG_JSON, cdn.Fault.GARBAGE])
def test_an_answer_that_is_no_configuration_is_not_stored(
    server: cdn.Cdn, store: key_values.DictStore, fault: cdn.Fault
) -> None:
    with polling(server, store):
        server.break_with(fault)
        server.wait_for_requests(3)
        assert stored(store) == PRO
        source = config_sources.StoreSource(store, keys.flag_config)
        # The SDK itself takes an answer that is no JSON for a failure of the network.
        if fault is cdn.Fault.WRONG_JSON:
            deadlines.eventually(lambda: bool(source.read()) and source.refusal is not None, "it is refused")
            assert "ConfigCat's answer is refused: not " in str(source.refusal)
            assert source.problem == source.refusal
        server.set_config(NO_PLAN)
        server.heal()
        deadlines.eventually(lambda: stored(store) == NO_PLAN, "the next proper configuration is stored")
        deadlines.eventually(lambda: bool(source.read()) and source.problem is None, "the problem is over")


def test_a_configuration_without_an_etag_gets_one_from_its_content(
    server: cdn.Cdn, store: key_values.DictStore
) -> None:
    server.etag = ""
    with polling(server, store):
        entry = config_sources.StoreSource(store, keys.flag_config).read()
    assert entry is not None
    assert entry.etag.startswith("content-")


def test_a_store_that_is_away_gets_the_configuration_when_it_is_back(
    server: cdn.Cdn, store: key_values.DictStore
) -> None:
    store.away = True
    with polling(server, store):
        store.away = False
        deadlines.eventually(lambda: stored(store) == PRO, "the configuration is stored")


def test_an_outage_is_logged_once_and_without_secrets(
    server: cdn.Cdn, store: key_values.DictStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with polling(server, store):
        logging.getLogger("configcat").setLevel(logging.DEBUG)
        store.away = True
        server.break_with(cdn.Fault.CLOSE)
        server.wait_for_requests(4)
    assert caplog.text.count("fetch config JSON") == 1
    assert caplog.text.count("reading the cache") == 1
    for secret in (server.sdk_key.rpartition("/")[2], "secret", "Traceback"):
        assert secret not in caplog.text


def test_a_stopped_poller_writes_no_more(server: cdn.Cdn, store: key_values.DictStore) -> None:
    server.break_with(cdn.Fault.HANG)
    others = set(threading.enumerate())
    poller = make_poller(server, store, http_timeout_s=cdn.DEADLINE_S)
    poller.start(wait_s=0)
    (thread,) = [each for each in set(threading.enumerate()) - others if each.name.endswith("(_run)")]
    deadlines.eventually(lambda: bool(server.statuses()), "a request is under way")
    poller.close()
    server.heal()
    thread.join(cdn.DEADLINE_S)
    assert not thread.is_alive()
    deadlines.eventually(lambda: server.statuses() == [None, 200], "the answer was given")
    assert stored(store) is None


def test_starting_and_stopping_twice_is_harmless(server: cdn.Cdn, store: key_values.DictStore) -> None:
    with polling(server, store) as poller:
        poller.start()
        poller.close()
    with polling(server, store):
        assert stored(store) == PRO
