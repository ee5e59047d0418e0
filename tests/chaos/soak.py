"""A soak: steady work at a part of what the deployment can do, and what memory Redis and the worker take meanwhile.

python -m tests.chaos.soak --minutes 30 --texts-per-s 10000
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pointsman_producer.client import Client, checked_request
from tests.support import running, tiny

MIB = 1024 * 1024
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
SIZE = 500


def main() -> int:
    """Run, and print a line every few seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--texts-per-s", type=float, default=10_000)
    parser.add_argument("--every", type=float, default=15, help="seconds between two lines")
    asked = parser.parse_args()
    request = checked_request([TEXTS[place % len(TEXTS)] for place in range(SIZE)], [None] * SIZE, "soak")
    with (
        tempfile.TemporaryDirectory(prefix="pointsman-soak-") as folder,
        running.deployment(Path(folder), extra={"result_ttl_s": 60}) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        begun = told = time.monotonic()
        sent = done = 0
        waiting = []
        while time.monotonic() - begun < asked.minutes * 60:
            if sent * SIZE < (time.monotonic() - begun) * asked.texts_per_s:
                waiting.append(client.submit_message(request))
                sent += 1
            else:
                time.sleep(0.005)
            while waiting and waiting[0].done():
                done += len(waiting.pop(0).result(0).intent)
            if time.monotonic() - told >= asked.every:
                told = time.monotonic()
                parent = psutil.Process(deployed.deployment.pids()["serving"])
                unshared = sum(child.memory_full_info().uss for child in parent.children())
                used = client._redis.info("memory")["used_memory"]
                print(
                    f"{told - begun:6.0f} s  {done:>10,} texts  Redis {used / MIB:7.1f} MiB  "
                    f"worker {parent.memory_info().rss / MIB:6.1f} MiB, its children's own {unshared / MIB:6.1f} MiB",
                    flush=True,
                )
        for message in waiting:
            done += len(message.result(60).intent)
        print(f"submitted {sent * SIZE:,}, done {done:,}, counted {client.progress('soak')['done']:,}")
    return 0 if done == sent * SIZE else 1


if __name__ == "__main__":
    sys.exit(main())
