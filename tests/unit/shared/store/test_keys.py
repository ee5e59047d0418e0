"""The names of a deployment in Redis."""

import inspect
from collections.abc import Callable

import pytest

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.keys import Keys

KEYS = Keys("blue")
FIXED = {name for name in vars(KEYS) if not name.startswith("_")}
NAMING = {
    name: method
    for name, method in inspect.getmembers(KEYS, inspect.ismethod)
    if not name.startswith("_") and name not in {"queue", "is_queue", "short"}
}


@pytest.mark.parametrize("name", sorted(FIXED))
def test_a_key_begins_with_the_namespace(name: str) -> None:
    assert getattr(KEYS, name).startswith("blue:")


@pytest.mark.parametrize("method", [pytest.param(method, id=name) for name, method in NAMING.items()])
def test_a_key_of_something_begins_with_the_namespace_and_holds_what_it_is_of(
    method: Callable[..., str],
) -> None:
    of = [f"part-{place}" for place in range(len(inspect.signature(method).parameters))]
    assert method(*of).startswith("blue:")
    assert all(part in method(*of) for part in of)


def test_no_two_things_share_a_key() -> None:
    fixed = [getattr(KEYS, name) for name in FIXED]
    of_something = [method(*["x"] * len(inspect.signature(method).parameters)) for method in NAMING.values()]
    assert len({*fixed, *of_something}) == len(fixed) + len(of_something)


def test_a_queue_is_called_by_its_short_name_and_belongs_to_one_deployment() -> None:
    queue = KEYS.queue(names.BULK_QUEUE)
    assert queue == "blue.bulk"
    assert KEYS.short(queue) == names.BULK_QUEUE
    assert KEYS.is_queue(queue)
    for other in ("blu.bulk", "blue2.bulk", "bulk", "celery"):
        assert not KEYS.is_queue(other)
        assert KEYS.short(other) == other


def test_two_stores_of_one_process_have_names_of_their_own() -> None:
    stores = [Store.connect(Settings(namespace=namespace)) for namespace in ("blue", "green")]
    assert [store.keys.open("m") for store in stores] == ["blue:open:m", "green:open:m"]
