"""`pointsman demo`: a guided tour, which runs the commands themselves against real workers and a real Redis."""

import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line
from pointsman_producer.deployment import embedded_redis, launcher, signals
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.deployment.log_view import TidyLog
from pointsman_producer.diagnostics import probe
from pointsman_producer.diagnostics.probe import Process
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs

TIER_FLAG, PRO_TIER = "proModel", "pro"
WORKERS = 2
STATE_DIR = local_state.STATE_DIR / "demo"
LOG = STATE_DIR / "demo.log"
OUTCOMES = STATE_DIR / "outcomes.jsonl"
PAGE = STATE_DIR / "shadow.html"
SAMPLE = "Can I pay you with my Google Pay wallet?"
FREE_USER = jobs.User(id="demo-free", custom={"plan": "free"})
AS_FREE = ["classify", SAMPLE, "--user", "demo-free", "--attr", "plan=free"]
AS_PRO = ["classify", SAMPLE, "--user", "demo-pro", "--attr", "plan=pro"]
POLL_S = 0.1
SEEN_TIMEOUT_S = 15.0
SERVED_TIMEOUT_S = 30.0
SHADOW_TIMEOUT_S = 60.0
WHAT_NEXT = f"""
[bold]That was it.[/] Try next:
  pointsman up                   [dim]the whole deployment, with Flower, until Ctrl-C[/]
  pointsman label queue          [dim]texts to label, so that a report can say which tier is better[/]
  pointsman chat                 [dim]type texts yourself, in another terminal[/]
  pointsman doctor               [dim]the state of the deployment[/]
  head -3 {OUTCOMES}    [dim]the output of a batch[/]
  pointsman --help"""


@click.command(
    epilog=command_line.examples(
        "pointsman demo",
        "pointsman demo --json",
        note="The tour has a Redis, a port and a state folder (.pointsman/demo) of its own, and stops everything at the end.",
    )
)
@command_line.json_option
def demo(*, as_json: bool) -> None:
    """Take a guided tour: train, classify conversations, compare the tiers, change a flag. About two minutes."""
    theirs = Settings.from_env()
    settings = theirs.model_copy(
        update={"configcat_sdk_key": None, "flags_file": STATE_DIR / "flags.json", "train_schedule": {}}
    )
    launcher.require_data(settings)
    with local_state.claim(STATE_DIR), LOG.open("w", encoding="utf-8") as log:
        shutil.rmtree(STATE_DIR / "up", ignore_errors=True)
        copy_flags(theirs.flags_file, settings.flags_file)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                facts = run(settings, Console(file=log, highlight=False))
        except errors.PointsmanError:
            command_line.say(f"The log of the workers is {LOG}.")
            raise
    if as_json:
        command_line.emit(facts)
    command_line.say(WHAT_NEXT)


def run(settings: Settings, console: Console) -> dict[str, object]:
    """Start a deployment, walk through the steps, stop it."""
    deployment = Deployment(
        settings,
        workers=WORKERS,
        redis_port=embedded_redis.free_port(),
        beat=False,
        state_dir=STATE_DIR / "up",
        say=TidyLog(console),
    )
    with signals.stopping(deployment.stop, deployment.kill):
        try:
            starting = "Start Redis, two serving processes and a trainer"
            step(starting, ["up", "--workers", str(WORKERS)], run_it=False)
            deployment.start()
            deployment.wait_ready()
            command_line.say(f"  They run. Their log is {LOG}.")
            # The commands of the tour, in this process, take their settings from the environment.
            os.environ.update(deployment.settings.environ())
            with Client(settings=deployment.settings) as client:
                return walk(client)
        finally:
            command_line.say("\n[dim]stopping everything ...[/]")


def walk(client: Client) -> dict[str, object]:
    """Run the steps, and return what a program may want to know."""
    train(client)
    source = str(client.settings.data_dir / "transcripts.jsonl")
    step(
        "Classify conversations; the flag proModel chooses each customer's tier at dequeue",
        ["batch", source, "-o", str(OUTCOMES), "--force"],
    )
    pair = shadowed_pair(client)
    name = names.pair_name(pair["served"], pair["candidate"])
    step(
        "See how the other tier would have answered those conversations",
        ["shadow", "report", name, "--html", str(PAGE), "--force"],
    )
    step("Ask as a free customer", AS_FREE)
    step("Ask the same as a pro customer", AS_PRO)
    flags_file = client.settings.flags_file
    command_line.say(f"\n[bold]Turn proModel on for everybody in {flags_file}, and restart nothing[/]")
    with Store.connect(client.settings) as store:
        before = flag_versions(store)
        open_to_everyone(flags_file)
        flip_seen_after_s = wait_for(
            lambda: len(after := flag_versions(store)) == 1 and after.isdisjoint(before),
            "not all workers follow the flag",
            SEEN_TIMEOUT_S,
        )
    command_line.say(f"  After {flip_seen_after_s:.1f} s, all workers follow it.")
    step("Ask as the free customer again", AS_FREE)
    if (tier := client.classify(SAMPLE, user=FREE_USER).tier) != PRO_TIER:
        msg = f"the {tier} tier answered, though the flag leads to {PRO_TIER}"
        raise errors.JobFailedError(msg)
    return {
        "outcomes": len(OUTCOMES.read_bytes().splitlines()),
        "flip_seen_after_s": flip_seen_after_s,
        "shadow": {"pair": name, "texts": pair["texts"], "agreed": pair["agreed"], "page": str(PAGE)},
    }


def train(client: Client) -> None:
    """Train the tiers without a model, and wait until every serving process serves all of them."""
    missing = registry.missing_tiers(client)
    for tier in missing:
        step(f"Train the {tier} tier, through the queue like all work", ["train", tier])
    if later := registry.missing_tiers(client):
        msg = f"the new version of {' and '.join(later)} may not serve; the lines above say why"
        raise errors.InvalidDataError(msg)
    if not missing:
        command_line.say(f"\nThe tiers in {escape(client.settings.registry_url)} are trained already.")
    with Store.connect(client.settings) as store:
        wait_for(
            lambda: all_serve(probe.processes(store)),
            "not all workers have loaded the trained tiers",
            SERVED_TIMEOUT_S,
        )


def all_serve(processes: Sequence[Process]) -> bool:
    """Tell whether every serving process serves every tier."""
    return sum(None not in process["tiers"].values() for process in processes) >= WORKERS


def flag_versions(store: Store) -> set[str | None]:
    """Return which versions of the flag configuration the serving processes use."""
    return {process["flags"]["etag"] for process in probe.processes(store)}


def step(title: str, arguments: Sequence[str], *, run_it: bool = True) -> None:
    """Announce a command and run it."""
    command_line.say(f"\n[bold]{escape(title)}[/]")
    command_line.say(f"  [cyan]$ {escape(shlex.join(['pointsman', *arguments]))}[/]")
    if run_it:
        root = click.get_current_context().find_root().command
        root.main(args=list(arguments), prog_name="pointsman", standalone_mode=False)


def shadowed_pair(client: Client) -> dict[str, Any]:
    """Wait until all texts are compared, and return the pair with the most texts."""
    wait_for(client.shadow.drained, "shadow messages still wait", SHADOW_TIMEOUT_S)
    pairs = client.shadow.pairs()
    if not pairs:
        msg = f"nothing was compared: set the flag {names.SHADOW_FLAG} to a share above 0"
        raise errors.InvalidDataError(msg)
    return max(pairs, key=lambda pair: int(pair["texts"]))


def wait_for(is_there: Callable[[], bool], problem: str, timeout_s: float) -> float:
    """Wait, and return how long it took; raise ResultTimeoutError, with the problem, at the timeout."""
    started = time.monotonic()
    while not is_there():
        if time.monotonic() - started > timeout_s:
            msg = f"after {timeout_s:.0f} s {problem}"
            raise errors.ResultTimeoutError(msg)
        time.sleep(POLL_S)
    return time.monotonic() - started


def copy_flags(source: Path, target: Path) -> None:
    """Copy a flag file, so that the tour does not change the user's own flags."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        msg = f"there is no flag file {source}: set POINTSMAN_FLAGS_FILE to one"
        raise errors.SettingsError(msg) from None


def open_to_everyone(flags_file: Path, flag: str = TIER_FLAG) -> None:
    """Turn a boolean flag on for every user whom no rule names, as in the dashboard."""
    config = json.loads(flags_file.read_text(encoding="utf-8"))
    try:
        config["f"][flag]["v"] = {"b": True}
    except KeyError:
        msg = f"{flags_file} has no flag {flag}"
        raise errors.InvalidDataError(msg) from None
    partial = flags_file.with_suffix(".partial")
    partial.write_text(json.dumps(config, indent=2), encoding="utf-8")
    partial.replace(flags_file)
