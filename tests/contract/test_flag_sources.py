"""What every source of the flag configuration promises, whether a file, a store in memory or Redis."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from pointsman_workers.flags import sources as config_sources
from tests.support import flag_config, key_values
from tests.support.default_keys import keys

PRO = flag_config.plan_flag("proModel", "pro")
ENTERPRISE = flag_config.plan_flag("proModel", "enterprise")
BROKEN = [
    pytest.param("", id="empty"),
    pytest.param('{"f": {"proModel": {"t": 0, "v"', id="partly written"),
    pytest.param("<html>anna@example.com</html>", id="no JSON"),
    pytest.param("[]", id="a list"),
    pytest.param('{"message": "anna@example.com"}', id="another document"),
    pytest.param('{"f": {"proModel": {"r": "anna@example.com"}}}', id="wrong inside"),
    pytest.param('{"f": {"proModel": {"r": [{"c": [{"s": {"s": 3}}]}]}}}', id="no such segment"),
    pytest.param("[" * 100_000, id="bottomless"),
]


class Origin(Protocol):
    """Where a source under test reads from."""

    @property
    def source(self) -> config_sources.ConfigSource: ...
    def put(self, text: str) -> None: ...
    def put_bytes(self, content: bytes) -> None: ...
    def remove(self) -> None: ...


class FileOrigin:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.source = config_sources.FileSource(path)

    def put(self, text: str) -> None:
        self.put_bytes(text.encode())

    def put_bytes(self, content: bytes) -> None:
        self._path.write_bytes(content)

    def remove(self) -> None:
        self._path.unlink()


class StoreOrigin:
    def __init__(self, store: config_sources.KeyValue) -> None:
        self._store = store
        self.source = config_sources.StoreSource(store, keys.flag_config)

    def put(self, text: str) -> None:
        self.put_bytes(f"1700000000000\n\n{text}".encode())

    def put_bytes(self, content: bytes) -> None:
        self._store.set(keys.flag_config, content)

    def remove(self) -> None:
        # The port has no way to delete; an empty value and no value both mean that there is nothing.
        self.put_bytes(b"")


@pytest.fixture(params=["file", "dictionary", "redis"])
def origin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Origin]:
    if request.param == "file":
        yield FileOrigin(tmp_path / "flags.json")
    elif request.param == "dictionary":
        yield StoreOrigin(key_values.DictStore())
    else:
        with key_values.RedisStore(request.getfixturevalue("redis_url")) as store:
            yield StoreOrigin(store)


def document(source: config_sources.ConfigSource) -> Any:
    entry = source.read()
    return None if entry is None else json.loads(entry.document)


def test_there_is_nothing_at_first_and_that_is_a_problem(origin: Origin) -> None:
    assert origin.source.read() is None
    assert origin.source.problem


def test_a_configuration_is_given_with_an_etag_and_its_time(origin: Origin) -> None:
    origin.put(json.dumps(PRO))
    entry = origin.source.read()
    assert entry is not None
    assert json.loads(entry.document) == PRO
    assert entry.etag
    assert entry.fetched_at > 1_600_000_000
    assert origin.source.problem is None


def test_an_unchanged_configuration_keeps_its_etag(origin: Origin) -> None:
    origin.put(json.dumps(PRO))
    first = origin.source.read()
    origin.put(json.dumps(PRO))
    assert origin.source.read() == first


def test_a_change_is_seen_by_the_next_read(origin: Origin) -> None:
    etags = set()
    for configuration in (PRO, ENTERPRISE):
        origin.put(json.dumps(configuration))
        entry = origin.source.read()
        assert entry is not None
        assert json.loads(entry.document) == configuration
        etags.add(entry.etag)
    assert len(etags) == 2


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_configuration_leaves_the_last_good_one(origin: Origin, broken: str) -> None:
    origin.put(json.dumps(PRO))
    origin.source.read()
    origin.put(broken)
    for _ in range(2):
        assert document(origin.source) == PRO
        assert origin.source.problem
        assert "anna" not in origin.source.problem


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\n\n\n", b"no time\netag\n{}"])
def test_bytes_that_make_no_sense_leave_the_last_good_one(origin: Origin, content: bytes) -> None:
    origin.put(json.dumps(PRO))
    origin.source.read()
    origin.put_bytes(content)
    assert document(origin.source) == PRO
    assert origin.source.problem


def test_a_broken_configuration_that_came_first_gives_nothing(origin: Origin) -> None:
    origin.put("{")
    assert origin.source.read() is None
    assert origin.source.problem


def test_a_mended_configuration_ends_the_problem(origin: Origin) -> None:
    origin.put("{")
    origin.source.read()
    origin.put(json.dumps(PRO))
    assert document(origin.source) == PRO
    assert origin.source.problem is None


def test_a_configuration_that_vanishes_goes_on_serving(origin: Origin) -> None:
    origin.put(json.dumps(PRO))
    first = origin.source.read()
    origin.remove()
    assert origin.source.read() == first
    assert origin.source.problem
    origin.put(json.dumps(PRO))
    assert origin.source.read() is not None
    assert origin.source.problem is None


def test_a_file_replaced_without_another_size_or_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    source = config_sources.FileSource(path)
    for plan in ("pro", "max"):
        fresh = tmp_path / f"{plan}.json"
        fresh.write_text(json.dumps(flag_config.plan_flag("proModel", plan)))
        os.utime(fresh, ns=(10**18, 10**18))
        fresh.replace(path)
        assert document(source) == flag_config.plan_flag("proModel", plan)


def test_a_file_rewritten_within_one_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.touch()
    changed_at = path.stat().st_mtime
    source = config_sources.FileSource(path, clock=lambda: changed_at + 0.5)
    for plan in ("pro", "max"):
        path.write_text(json.dumps(flag_config.plan_flag("proModel", plan)))
        os.utime(path, (changed_at, changed_at))
        assert document(source) == flag_config.plan_flag("proModel", plan)


def test_a_file_that_stays_the_same_is_not_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(PRO))
    os.utime(path, (10**9, 10**9))
    source = config_sources.FileSource(path)
    first = source.read()
    status = path.stat()
    path.write_text(json.dumps(PRO).replace("pro", "max"))
    # Another content under the same stamp: a reader that opened the file would see it.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.read() is first


def test_a_file_that_comes_back_as_it_was_ends_the_problem(tmp_path: Path) -> None:
    path, aside = tmp_path / "flags.json", tmp_path / "aside.json"
    path.write_text(json.dumps(PRO))
    os.utime(path, (10**9, 10**9))
    source = config_sources.FileSource(path)
    source.read()
    path.rename(aside)
    source.read()
    assert source.problem is not None
    assert "No such file" in source.problem
    aside.rename(path)
    source.read()
    assert source.problem is None


def test_a_folder_in_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    source = config_sources.FileSource(tmp_path)
    assert source.read() is None
    assert source.problem


def test_a_store_that_is_away_leaves_the_last_good_configuration() -> None:
    store = key_values.DictStore()
    origin = StoreOrigin(store)
    origin.put(json.dumps(PRO))
    first = origin.source.read()
    store.away = True
    assert origin.source.read() == first
    assert origin.source.problem is not None
    assert "secret" not in origin.source.problem
    store.away = False
    assert origin.source.read() == first
    assert origin.source.problem is None


def test_a_broken_entry_is_still_a_problem_after_the_store_was_away() -> None:
    store = key_values.DictStore()
    origin = StoreOrigin(store)
    origin.put("{")
    origin.source.read()
    broken = origin.source.problem
    store.away = True
    origin.source.read()
    store.away = False
    origin.source.read()
    assert origin.source.problem == broken


def test_an_entry_survives_its_way_through_the_store() -> None:
    entry = config_sources.ConfigEntry(
        etag='W/"1"', fetched_at=1_700_000_000.123, document=json.dumps(PRO, indent=1)
    )
    assert config_sources.ConfigEntry.parse(entry.serialize()) == entry
