"""`make chaos`: run the fault scripts and print the table of `docs/reliability.md`."""

import argparse
import sys

from tests.chaos import scenarios
from tests.chaos.stage import LATE, PLAIN

SCRIPTS: dict[str, dict[str, int]] = {
    "children": {"kill_child": 25},
    "workers": {"kill_worker": 25},
    "sigterm": {"stop_worker": 8},
    "redis": {"kill_redis": 10, "pause_redis": 2},
    "network": {"reset_connections": 8, "swallow": 2, "delay": 3},
    "trainer": {"kill_trainer": 6, "kill_beat": 6, "stop_trainer": 3},
    "flags": {"break_flags": 8},
    "memory": {"fill_redis": 6},
    "poison": {"submit_poison": 5},
    "garbage": {"push_garbage": 21},
    "mixed": {
        "kill_child": 4,
        "kill_worker": 3,
        "stop_worker": 2,
        "kill_trainer": 2,
        "kill_beat": 2,
        "kill_redis": 2,
        "pause_redis": 1,
        "reset_connections": 2,
        "swallow": 1,
        "delay": 1,
        "fill_redis": 2,
        "break_flags": 3,
        "submit_poison": 2,
        "push_garbage": 2,
    },
    "everything": {"kill_child": 25, "kill_worker": 25, "kill_redis": 10},
}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seeds", default="1", help="several separated by commas")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--scripts", default=",".join(SCRIPTS))
    parser.add_argument("--gap", type=float, default=2.0, help="seconds between faults, on average")
    parser.add_argument(
        "--settle", type=float, default=scenarios.SETTLE_S, help="seconds to wait for what is left"
    )
    parser.add_argument("--compare", action="store_true", help="run plain Celery under the same scripts too")
    asked = parser.parse_args()
    clean = True
    for name in asked.scripts.split(","):
        for seed in map(int, asked.seeds.split(",")):
            verdict = scenarios.ours(
                SCRIPTS[name], seed=seed, texts=asked.texts, gap_s=asked.gap, settle_s=asked.settle
            )
            clean &= verdict.is_clean
            print(
                f"{name:<11} seed {seed}  Pointsman      {'ok ' if verdict.is_clean else 'BAD'} {verdict.line()}",
                flush=True,
            )
            print("\n".join(f"  {note}" for note in verdict.notes), end="")
            if asked.compare:
                for contestant, title in ((PLAIN, "plain Celery"), (LATE, "acks_late")):
                    figures = scenarios.plain_celery(
                        contestant, SCRIPTS[name], seed=seed, messages=asked.texts // 50, gap_s=asked.gap
                    )
                    print(f"{name:<11} seed {seed}  {title:<14} {figures}", flush=True)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
