"""`pointsman demo`: a guided tour with real workers behind a real Redis, each step with the command to type."""

import contextlib
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pointsman_producer.batch import run as batch_run
from pointsman_producer.client.client import Client
from pointsman_producer.commands import classify as classifying
from pointsman_producer.commands import command_line, tour
from pointsman_producer.commands import train as training
from pointsman_producer.deployment import embedded_redis, launcher
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.deployment.log_view import TidyLog
from pointsman_producer.deployment.signals import Interrupts
from pointsman_producer.diagnostics import probe
from pointsman_producer.report import page as report_page
from pointsman_producer.report import terminal as report_terminal
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_shared.wire.shadow_report import ShadowReport

WORKERS = 2
STATE_DIR = local_state.STATE_DIR / "demo"
LOG = STATE_DIR / "demo.log"
OUTCOMES = STATE_DIR / "outcomes.jsonl"
PAGE = STATE_DIR / "shadow.html"
SAMPLES = (
    "Can I pay you with my Google Pay wallet?",
    "what time do you shut on Thursdays?",
    "thanks a lot, bye!",
)
FREE = jobs.User(id="demo-free", custom={"plan": "free"})
PRO = jobs.User(id="demo-pro", custom={"plan": "pro"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the tour saw, for programs.

    Attributes:
        outcomes: How many turns were classified.
        conversations: For each plan, how many conversations each tier served.
        flip_seen_after_s: How long after the flag was turned the other tier answered.
        shadow: On how many of how many texts the two tiers agreed, and the page that says more.
    """

    outcomes: int
    conversations: Mapping[str, Counter[str]]
    flip_seen_after_s: float
    shadow: Mapping[str, object]


@click.command(
    epilog="""\b
It has a Redis, a port and a state folder (.pointsman/demo) of its own and stops everything at the end.

\b
Examples:
  pointsman demo
  pointsman demo --json
"""
)
@command_line.json_option
def demo(*, as_json: bool) -> None:
    """Take a guided tour: train, classify conversations, turn a flag, compare the tiers. About two minutes."""
    theirs = Settings.from_env()
    settings = demo_settings(theirs)
    launcher.require_data(settings)
    with local_state.claim(STATE_DIR), _log() as console:
        shutil.rmtree(STATE_DIR / "up", ignore_errors=True)
        tour.copy_flags(theirs.flags_file, settings.flags_file)
        summary = run(settings, console)
    if as_json:
        command_line.emit(summary)
    tell_what_next()


def demo_settings(settings: Settings) -> Settings:
    """Give the settings of the tour: whatever the user has, but on a Redis and a flag file of its own."""
    own: dict[str, object] = {
        "configcat_sdk_key": None,
        "flags_file": STATE_DIR / "flags.json",
        "train_schedule": {},
    }
    return settings.model_copy(update=own)


@contextlib.contextmanager
def _log() -> Iterator[Console]:
    with LOG.open("w", encoding="utf-8") as file:
        try:
            yield Console(file=file, highlight=False)
        except errors.PointsmanError:
            command_line.say(f"What the workers said is in {LOG}.")
            raise


def run(settings: Settings, console: Console) -> Summary:
    """Start everything, walk through the steps, stop everything."""
    deployment = Deployment(
        settings,
        workers=WORKERS,
        redis_port=embedded_redis.free_port(),
        beat=False,
        state_dir=STATE_DIR / "up",
        say=TidyLog(console),
    )
    with Interrupts(deployment.kill) as interrupts:
        try:
            step(
                "Start Redis, two serving processes and a trainer on this machine",
                f"pointsman up --workers {WORKERS}",
            )
            deployment.start()
            deployment.wait_ready()
            command_line.say(f"  They run. Their log is in {LOG}.")
            with Client(settings=deployment.settings) as client:
                return walk(client, deployment)
        finally:
            interrupts.ending()
            command_line.say("\n[dim]stopping everything ...[/]")
            deployment.stop()


def walk(client: Client, deployment: Deployment) -> Summary:
    """Go through the steps."""
    train_what_is_missing(client, deployment)
    outcomes, conversations = classify_transcripts(client)
    compared = tour.shadow_report(client)
    compare_tiers(client)
    flip_seen_after_s = turn_the_flag(client)
    show_shadow(compared)
    return Summary(
        outcomes=outcomes,
        conversations=conversations,
        flip_seen_after_s=flip_seen_after_s,
        shadow={
            "pair": compared.pair,
            "texts": compared.agreement.texts if compared.agreement else 0,
            "agreed": compared.agreement.agreed if compared.agreement else 0,
            "page": PAGE,
        },
    )


def step(what: str, command: str) -> None:
    """Announce a step and the command that does the same."""
    command_line.say(f"\n[bold]{escape(what)}[/]")
    command_line.say(f"  [cyan]$ {escape(command)}[/]")


def train_what_is_missing(client: Client, deployment: Deployment) -> None:
    """Train the tiers that have no champion and wait until all workers serve both."""
    missing = training.missing_tiers(client)
    for tier in tour.TIERS:
        step(f"Train the {tier} tier, through the queue like all work", f"pointsman train {tier}")
        if tier in missing:
            train(client, tier)
        else:
            command_line.say(
                f"  It is in {escape(client.settings.registry_url)} already, so this run uses that."
            )
    with Store.connect(deployment.settings) as store:
        tour.wait_until_served(lambda: probe.processes(store), WORKERS)


def train(client: Client, tier: str) -> None:
    """Train a tier.

    Raises:
        InvalidDataError: The version may not serve, and there is none before it.
    """
    reply = training.train_and_wait(client, tier)
    metrics = training.shown_metrics(reply.metrics)
    command_line.say(f"  Version {reply.version} in {reply.duration_s:.0f} s: {escape(metrics)}.")
    if not reply.promoted:
        msg = f"version {reply.version} of {tier} may not serve: {'; '.join(reply.reasons)}"
        raise errors.InvalidDataError(msg)


def classify_transcripts(client: Client) -> tuple[int, dict[str, Counter[str]]]:
    """Classify the sample conversations as `pointsman batch` does; the flag decides for each customer."""
    source = client.settings.data_dir / "transcripts.jsonl"
    command = shlex.join(["pointsman", "batch", str(source), "-o", str(OUTCOMES)])
    step("Classify conversations; the flag proModel chooses each customer's tier at dequeue", command)
    plan = batch_run.Plan(source=str(source), out=OUTCOMES, force=True)
    report = batch_run.run(plan, lambda: contextlib.nullcontext(client))
    outcomes = tour.read_outcomes(OUTCOMES)
    conversations = tour.tiers_by_plan(outcomes, tour.plans_of(source))
    if report is not None:
        command_line.say(
            f"  {len(outcomes)} turns of {report.conversations} conversations in {report.duration_s:.1f} s."
        )
    command_line.err.print(_plans_table(conversations))
    return len(outcomes), conversations


def _plans_table(conversations: Mapping[str, Counter[str]]) -> Table:
    table = Table("customer's plan", *tour.TIERS, title="conversations by tier", title_justify="left")
    for plan, served in conversations.items():
        table.add_row(escape(plan), *(str(served[tier]) for tier in tour.TIERS))
    return table


def compare_tiers(client: Client) -> None:
    """Ask the same as a free and as a pro customer."""
    step("Ask the same as a free and as a pro customer", _classify_command(SAMPLES[0], PRO))
    table = Table("text", *(f"{user.custom['plan']} customer" for user in (FREE, PRO)))
    for text in SAMPLES:
        answers = [client.classify(text, user=user) for user in (FREE, PRO)]
        table.add_row(escape(text), *(_cell(answer) for answer in answers))
    command_line.err.print(table)


def _cell(outcome: jobs.Outcome) -> str:
    sure = "" if outcome.intent == names.OUT_OF_SCOPE else f" {outcome.confidence:.0%}"
    return f"{escape(outcome.intent)}{sure}\n[dim]{outcome.tier} v{outcome.model_version}[/]"


def _classify_command(text: str, user: jobs.User) -> str:
    return f'pointsman classify "{text}" --user {user.id} --attr plan={user.custom["plan"]}'


def turn_the_flag(client: Client) -> float:
    """Turn the flag for everybody in the tour's copy and wait until a free customer gets the pro tier."""
    flags_file = client.settings.flags_file
    step(
        f"Turn proModel on for everybody in {flags_file}, and restart nothing",
        _classify_command(SAMPLES[0], FREE),
    )
    before = client.classify(SAMPLES[0], user=FREE)
    tour.open_to_everyone(flags_file)
    took_s = tour.seconds_until(client, SAMPLES[0], user=FREE, tier=names.PRO_TIER)
    after = client.classify(SAMPLES[0], user=FREE)
    for when, outcome in (("before", before), ("after", after)):
        command_line.say(
            f"  {when:<7}{outcome.tier:<5} {escape(outcome.intent)}: {escape(classifying.why(outcome.flag))}"
        )
    command_line.say(f"  The next message after {took_s:.1f} s went the other way.")
    return took_s


def show_shadow(found: ShadowReport) -> None:
    """Show how the tier that did not serve would have answered the conversations."""
    command = shlex.join(["pointsman", "shadow", "report", found.pair, "--html", str(PAGE)])
    step(
        "See how the other tier would have answered those conversations",
        command,
    )
    report_terminal.show(command_line.err, found)
    report_page.write(found, PAGE)
    command_line.say(f"\n  With charts, as a page for your browser: [bold]{PAGE}[/]")


def tell_what_next() -> None:
    """Say what to try next."""
    command_line.say("\n[bold]That was it.[/] Try next:")
    command_line.say(
        "  pointsman up                   [dim]the whole deployment, with Flower, until Ctrl-C[/]"
    )
    command_line.say(
        "  pointsman label queue          [dim]what to label, so that a report can say which tier is better[/]"
    )
    command_line.say("  pointsman chat                 [dim]type texts yourself, in another terminal[/]")
    command_line.say("  pointsman doctor               [dim]how the deployment is[/]")
    command_line.say(f"  head -3 {OUTCOMES}    [dim]what a batch writes[/]")
    command_line.say("  pointsman --help")
