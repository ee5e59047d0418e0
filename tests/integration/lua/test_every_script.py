"""No script of the product is without a test that runs it alone."""

import importlib.util
from pathlib import Path

from tests.support import lua

HERE = Path(__file__)


def test_every_script_of_the_product_is_run_by_a_test_in_this_folder() -> None:
    for path in HERE.parent.glob("test_*.py"):
        if path != HERE:
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert lua.files() == lua.tested
    assert len(lua.files()) >= 19
