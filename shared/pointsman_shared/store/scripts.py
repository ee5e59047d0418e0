"""Lua scripts: each is a file beside its user, and names its keys and arguments in its first lines.

The line `local entry, index = unpack(KEYS)` in the file is what the loader reads, so that a caller passes `entry=...`
and no order is written down twice.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Final

from redis.exceptions import NoScriptError

from pointsman_shared.store.connection import Store

_NAMES = re.compile(r"^local ([\w, ]+) = unpack\((KEYS|ARGV)\)$", re.MULTILINE)


class Script:
    """A script that is called with its keys and arguments by name."""

    def __init__(self, source: str, *libraries: str) -> None:
        named = {which: tuple(names.split(", ")) for names, which in _NAMES.findall(source)}
        self.keys = named.get("KEYS", ())
        self.arguments = named.get("ARGV", ())
        self._source = "\n".join([*libraries, source])
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, store: Store, **values: Any) -> Any:  # noqa: ANN401  the script's answer
        """Run the script."""
        if len(values) != len(self.keys) + len(self.arguments):
            msg = f"expected {', '.join((*self.keys, *self.arguments))}; got {', '.join(values)}"
            raise TypeError(msg)
        try:
            given = [values[name] for name in (*self.keys, *self.arguments)]
        except KeyError as error:
            msg = f"the script needs {error}"
            raise TypeError(msg) from None
        try:
            return store.evalsha(self._sha, len(self.keys), *given)
        except NoScriptError:
            # Sends and keeps it: Redis was started anew, or has never seen it.
            return store.eval(self._source, len(self.keys), *given)


def load(beside: str, name: str, *libraries: str) -> Script:
    """Read a script."""
    return Script(read(beside, name), *libraries)


def read(beside: str, name: str) -> str:
    """Read a Lua file that stands beside a module."""
    return Path(beside).with_name(f"{name}.lua").read_text()


IDS: Final = read(__file__, "ids")
"""The Lua function `id_of`."""
