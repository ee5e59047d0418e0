"""The product's Lua scripts, each to be called alone; what was asked for here is known to be tested."""

from pathlib import Path

from pointsman_shared.store import scripts

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "producer", "shared", "workers")

tested: set[Path] = set()


def files() -> set[Path]:
    """Find every Lua file of the product."""
    return {path for package in PACKAGES for path in (ROOT / package).rglob("*.lua")}


def library(path: str) -> str:
    """Read a file of functions, as `shared/store/bury`."""
    package, room, name = path.split("/")
    file = ROOT / package / f"pointsman_{package}" / room / f"{name}.lua"
    tested.add(file)
    return scripts.read(str(file), name)


def script(path: str, *libraries: str) -> scripts.Script:
    """Load a script, as `producer/client/cancel`."""
    return scripts.Script(library(path), *libraries)
