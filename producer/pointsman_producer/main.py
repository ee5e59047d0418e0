"""The entry point of `pointsman`: checks that the packages of the command line are installed, then runs it.

It imports only the standard library: a thin install (`pip install pointsman`, for services that submit jobs) lacks
these packages, and gets one clear line.
"""

import importlib
import importlib.util
import sys

CLI_PACKAGES = ("click", "orjson", "rich")
USAGE = 2


def main() -> None:
    """Run the command line and exit."""
    missing = [package for package in CLI_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        sys.stderr.write(f"pointsman: {', '.join(missing)} missing; pip install 'pointsman[cli]'\n")
        sys.exit(USAGE)
    # Imported at run time, so that the check can come first.
    sys.exit(importlib.import_module("pointsman_producer.commands.root").run())
