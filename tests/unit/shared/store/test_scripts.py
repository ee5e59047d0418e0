"""A Lua script is called with its keys and arguments by the names that its first lines give them."""

from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from pointsman_shared.store import scripts

SOURCE = """-- A head.
local entry, index = unpack(KEYS)
local id, now = unpack(ARGV)

return redis.call('ZADD', index, now, id)
"""


class Scripts:
    """Stands for the store: knows the scripts that it was sent, until it restarts."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.calls: list[tuple[Any, ...]] = []

    def evalsha(self, sha: str, *given: Any) -> str:
        if sha not in self.known:
            raise NoScriptError
        self.calls.append(given)
        return "known"

    def eval(self, source: str, *given: Any) -> str:
        self.known.add(scripts.Script(source)._sha)
        self.calls.append(given)
        return "sent"


@pytest.fixture
def store() -> Scripts:
    return Scripts()


def call(store: Scripts, source: str = SOURCE, **values: Any) -> Any:
    return scripts.Script(source)(store, **values)  # type: ignore[arg-type]  # it stands for one


def test_a_script_names_its_keys_and_its_arguments() -> None:
    script = scripts.Script(SOURCE)
    assert (script.keys, script.arguments) == (("entry", "index"), ("id", "now"))


def test_values_are_passed_in_the_order_of_the_script(store: Scripts) -> None:
    call(store, now=7, id="m", index="i", entry="e")
    assert store.calls == [(2, "e", "i", "m", 7)]


def test_a_script_may_take_keys_only_or_arguments_only(store: Scripts) -> None:
    call(store, "local queue = unpack(KEYS)", queue="bulk")
    call(store, "local id = unpack(ARGV)", id="m")
    assert store.calls == [(1, "bulk"), (0, "m")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"entry": "e", "index": "i", "id": "m"}, "expected entry, index, id, now; got entry, index, id"),
        ({"entry": "e", "index": "i", "id": "m", "now": 7, "ttl": 1}, "got entry, index, id, now, ttl"),
        ({"entry": "e", "index": "i", "id": "m", "then": 7}, "the script needs 'now'"),
    ],
)
def test_a_name_that_is_missing_or_wrong_is_refused_before_anything_is_sent(
    store: Scripts, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        call(store, **values)
    assert store.calls == []


def test_a_script_is_sent_once_and_again_after_a_restart(store: Scripts) -> None:
    def answer() -> Any:
        return call(store, entry="e", index="i", id="m", now=7)

    assert [answer(), answer()] == ["sent", "known"]
    store.known.clear()
    assert [answer(), answer()] == ["sent", "known"]
    assert store.calls == [(2, "e", "i", "m", 7)] * 4


def test_libraries_stand_before_the_script_that_calls_them(tmp_path: Path) -> None:
    (tmp_path / "both.lua").write_text("local id = unpack(ARGV)\nreturn twice(id)")
    (tmp_path / "twice.lua").write_text("local function twice(id) return id .. id end")
    user = str(tmp_path / "user.py")
    script = scripts.load(user, "both", scripts.read(user, "twice"))
    assert script._source == (
        "local function twice(id) return id .. id end\nlocal id = unpack(ARGV)\nreturn twice(id)"
    )
