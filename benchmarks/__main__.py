"""Run the benchmarks: all, or the sections named on the command line."""

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import (
    bulk,
    classifier,
    corpus,
    deployment,
    latency,
    ledger,
    memory,
    promotion,
    services,
    shadow,
    throughput,
    training,
)

SECTIONS: dict[str, Callable[[Path], None]] = {
    "throughput": throughput.run,
    "classifier": classifier.run,
    "bulk": bulk.run,
    "latency": latency.run,
    "services": services.run,
    "ledger": ledger.run,
    "memory": memory.run,
    "shadow": shadow.run,
    "promotion": promotion.run,
    "training": training.run,
}


def main(wanted: list[str]) -> int:
    """Run the sections and print their tables."""
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}; there are: {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores; texts: {corpus.source()}")
    trained = deployment.trained(corpus.ROOT / "models" / "registry")
    for name in wanted or SECTIONS:
        SECTIONS[name](trained)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
