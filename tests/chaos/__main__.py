"""`make chaos`: run the fault scripts and print the table of `docs/reliability.md`."""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass

from tests.chaos import scenarios
from tests.chaos.stage import LATE, PLAIN
from tests.chaos.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Faults to do in an order that the seed decides.

    Attributes:
        title: What the table calls it.
        faults: How often each is done.
        gap: How much longer than usual the pauses in between are.
        pause_s: How long each message takes; otherwise so long that work lasts as the faults do.
        is_ours_alone: Whether it breaks what a plain Celery worker does not have.
    """

    title: str
    faults: dict[str, int]
    gap: float = 1.0
    pause_s: float | None = None
    is_ours_alone: bool = False


SCRIPTS = {
    "children": Script(title="25 children killed", faults={"kill_child": 25}),
    "workers": Script(title="25 whole workers killed", faults={"kill_worker": 25}),
    "sigterm": Script(title="8 times SIGTERM", faults={"stop_worker": 8}),
    "redis": Script(title="Redis killed 10 times, paused twice", faults={"kill_redis": 10, "pause_redis": 2}),
    "memory": Script(title="6 times `maxmemory` reached", faults={"fill_redis": 6}),
    "network": Script(
        title="8 connection resets, 2 black holes, 3 delays",
        faults={"reset_connections": 8, "swallow": 2, "delay": 3},
    ),
    "poison": Script(title="5 poison messages", faults={"submit_poison": 5}),
    "garbage": Script(title="1,008 malformed messages of 48 kinds", faults={"push_garbage": 21}),
    # A training has to be under way to be killed.
    "trainer": Script(
        title="trainer killed 6 and stopped 3 times, beat killed 6 times",
        faults={"kill_trainer": 6, "stop_trainer": 3, "kill_beat": 6},
        gap=3.0,
        is_ours_alone=True,
    ),
    "flags": Script(
        title="8 times the flags' CDN fails, worker killed 4 times meanwhile",
        faults={"break_flags": 8, "kill_worker": 4},
        gap=2.0,
        is_ours_alone=True,
    ),
    "time": Script(
        title="12 pauses past the time limit, expired and late messages, ids used twice",
        faults={"pause_child": 8, "pause_worker": 4, "send_expired": 8, "send_late": 12, "reuse_id": 8},
        is_ours_alone=True,
    ),
    "mixed": Script(
        title="all faults, each twice",
        faults=dict.fromkeys(
            (
                "kill_child",
                "kill_worker",
                "stop_worker",
                "kill_trainer",
                "kill_beat",
                "kill_redis",
                "pause_redis",
                "fill_redis",
                "reset_connections",
                "swallow",
                "delay",
                "break_flags",
                "submit_poison",
                "push_garbage",
                "pause_child",
                "pause_worker",
                "send_expired",
                "send_late",
                "reuse_id",
            ),
            2,
        ),
        is_ours_alone=True,
    ),
    "storm": Script(
        title="100 children killed in quick succession", faults={"kill_child": 100}, gap=0.2, pause_s=0.3
    ),
    "everything": Script(
        title="25 children, 25 whole workers, 10 times Redis killed",
        faults={"kill_child": 25, "kill_worker": 25, "kill_redis": 10},
    ),
}
CONTESTANTS = {PLAIN: "plain Celery", LATE: "acks_late"}


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seeds", default="1", help="several separated by commas")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--scripts", default=",".join(SCRIPTS))
    parser.add_argument("--gap", type=float, default=1.5, help="seconds between faults, on average")
    parser.add_argument(
        "--settle", type=float, default=scenarios.SETTLE_S, help="seconds to wait for what is left"
    )
    parser.add_argument(
        "--deployments", type=int, choices=(1, 2), default=1, help="side by side in one Redis database"
    )
    parser.add_argument("--compare", action="store_true", help="run plain Celery under the same scripts too")
    asked = parser.parse_args()
    clean, rows = True, []
    for name in asked.scripts.split(","):
        script, cells = SCRIPTS[name], []
        seeds, gap_s = [int(seed) for seed in asked.seeds.split(",")], asked.gap * SCRIPTS[name].gap
        verdicts = []
        for seed in seeds:
            for place, verdict in enumerate(
                scenarios.ours(
                    script.faults,
                    seed=seed,
                    texts=asked.texts,
                    gap_s=gap_s,
                    pause_s=script.pause_s,
                    settle_s=asked.settle,
                    deployments=asked.deployments,
                )
            ):
                which = f"{name} seed {seed} {scenarios.NAMESPACES[place]}"
                print(f"{which}: {'ok' if verdict.is_clean else 'BAD'} {verdict.line()}", flush=True)
                print("".join(f"  {note}\n" for note in verdict.notes), end="", flush=True)
                verdicts.append(verdict)
        clean &= all(verdict.is_clean for verdict in verdicts)
        cells.append(_ours(verdicts))
        for contestant in CONTESTANTS if asked.compare else ():
            figures: Counter[str] = Counter()
            for seed in () if script.is_ours_alone else seeds:
                found = scenarios.plain_celery(
                    contestant,
                    script.faults,
                    seed=seed,
                    messages=asked.texts // 50,
                    gap_s=gap_s,
                    pause_s=script.pause_s,
                )
                print(f"{name} seed {seed}: {CONTESTANTS[contestant]} {found}", flush=True)
                figures.update(found)
            cells.append(_plain(figures))
        rows.append(f"| {script.title} | {' | '.join(cells)} |")
    titles = ["faults", "Pointsman", *(CONTESTANTS.values() if asked.compare else ())]
    print(f"\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    print("\n".join(rows))
    return 0 if clean else 1


def _ours(verdicts: list[Verdict]) -> str:
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total.update({name: getattr(verdict, name) for name in (*Verdict.FAULTS, *Verdict.FACTS)})
    found = [f"{total[name]} {name.replace('_', ' ')}" for name in Verdict.FAULTS if total[name]]
    facts = [f"{total[name]:,} {words}" for name, words in Verdict.FACTS.items() if total[name]]
    return "; ".join([", ".join(found) or "0 lost, 0 twice, all figures equal", *facts])


def _plain(figures: Counter[str]) -> str:
    if not figures:
        return "-"
    counted = [f"{figures[name]} of {figures['messages']} {name}" for name in ("lost", "twice")]
    starts = figures["poison_starts"]
    return ", ".join(counted + ([f"poison attempted {starts} times"] if starts else []))


if __name__ == "__main__":
    sys.exit(main())
