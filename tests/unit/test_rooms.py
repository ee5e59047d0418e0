"""The house: what a room offers, and how large it may be."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / name / f"pointsman_{name}" for name in ("shared", "models", "workers", "producer")]
FILES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
ROOMS = sorted(path.parent for path in FILES if path.name == "__init__.py" and path.parent not in PACKAGES)
MAX_FILES = 15


def name_of(path: Path) -> str:
    """Name a module or a room as it is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])


MODULES = {name_of(path) for path in FILES}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def exports(room: Path) -> set[str]:
    for node in parsed(room / "__init__.py").body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the modules of ours that a file imports."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            longer = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in longer}
    return found


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_is_entered_through_what_it_exports(room: Path) -> None:
    name = name_of(room)
    outside = [path for path in FILES if room not in path.parents]
    entered = {
        module.removeprefix(f"{name}.")
        for path in outside
        for module in imports(path)
        if module.startswith(f"{name}.")
    }
    assert entered <= exports(room)


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_exports_modules_that_it_has(room: Path) -> None:
    assert exports(room) <= {path.stem for path in room.glob("*.py")}


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_says_in_one_sentence_what_it_is_for_and_what_it_must_not_know(room: Path) -> None:
    said = ast.get_docstring(parsed(room / "__init__.py")) or ""
    assert "know" in said.lower()
    assert "\n" not in said


def test_no_folder_but_the_commands_has_more_than_fifteen_files() -> None:
    files = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert [
        name_of(folder) for folder, count in files.items() if count > MAX_FILES and folder.name != "commands"
    ] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_lua_stands_in_a_python_file(path: Path) -> None:
    assert "redis.call(" not in path.read_text()


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "demo.py"], ids=name_of)
def test_no_tier_and_no_flag_of_one_is_named_in_the_code(path: Path) -> None:
    constants = {node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
    assert constants.isdisjoint({"base", "pro", "proModel"})


PRODUCTS_OWN = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|pointsman [a-z]+)")


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if "commands" not in path.parts and path.name != "launcher.py"],
    ids=name_of,
)
def test_only_the_command_line_names_commands_and_options(path: Path) -> None:
    documented = {
        id(node.body[0].value)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
    ]
    # `var(--served)` is CSS.
    assert [text for text in texts if PRODUCTS_OWN.search(text.replace("(--", "("))] == []
