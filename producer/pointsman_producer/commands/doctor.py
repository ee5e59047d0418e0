"""`pointsman doctor`: how the deployment is, and what to do about it."""

import click
from rich.markup import escape

from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import state as local_state
from pointsman_producer.diagnostics import examination
from pointsman_producer.diagnostics.findings import Finding, Remedy

MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}
# `{}` stands for a tier or a pair.
ADVICE = {
    Remedy.NONE: "",
    Remedy.START_REDIS: command_line.NO_REDIS_ADVICE,
    Remedy.CHECK_URL: "check the password and the number of the database in POINTSMAN_REDIS_URL",
    Remedy.ONE_SERVER: "use one server, with a replica if you like",
    Remedy.FORBID_EVICTION: "redis-cli config set maxmemory-policy noeviction",
    Remedy.TURN_AOF_ON: "redis-cli config set appendonly yes",
    Remedy.FREE_MEMORY: "wait until work has been done, purge dead letters, or give it more memory",
    Remedy.ADD_WORKERS: "start more workers, or see below whether any consume it",
    Remedy.START_WORKERS: "start workers: `pointsman up`, or celery -A pointsman_workers.app worker",
    Remedy.START_TRAINER: "start a trainer: `pointsman up`, or celery -A pointsman_workers.trainer worker -c 1",
    Remedy.TRAIN: "pointsman train {}",
    Remedy.TRAIN_AGAIN: "the previous version continues to serve; train again, or see the registry",
    Remedy.LOOK_AT_LOG: "look at its log; it may hang",
    Remedy.MEND_TIERS: "correct that file; until then, the tiers stay as they were declared before",
    Remedy.WAIT_FOR_FLAGS: "the last good configuration serves; until there is one, the base tier",
    Remedy.WAIT_FOR_SWAP: "wait some seconds and ask again; then look at the log of the processes that stay behind",
    Remedy.MEND_FLAG: "give the flag the type and the values that [routing] in tiers.toml names, or change [routing]",
    Remedy.LOOK_AT_LETTERS: "`pointsman dead list` names them; then replay or purge them",
    Remedy.NAME_THE_QUEUE: "send them again to {namespace}.interactive, as docs/messages.md shows, and delete this queue",
    Remedy.SAME_RELEASE: "users have their outcomes; upgrade producers and workers to the same release",
    Remedy.DO_SHADOW_WORK: (
        "start a worker of its own: celery -A pointsman_workers.app worker -Q {namespace}.shadow; or lower shadowSampleRate"
    ),
    Remedy.READ_REPORT: 'pointsman shadow report "{}" says how far that can bend its figures',
    Remedy.CHANGE_CANDIDATE: "users are not affected; nominate another version, or train again",
    Remedy.FASTER_CANDIDATE: "users are not affected; nominate a version that is faster",
    Remedy.LOOK_AT_MEMORY: "it ended its process, which is replaced; look at the workers' log and their memory",
}


@click.command(
    epilog=command_line.examples(
        "pointsman doctor",
        "pointsman doctor --json | jq '.[] | select(.status != \"ok\")'",
        note="Exit code 0 if nothing is broken (there may be warnings), 4 otherwise.",
    )
)
@command_line.json_option
def doctor(*, as_json: bool) -> None:
    """Check Redis, queues, workers, models and flags, and say what to do."""
    settings = local_state.settings()
    with command_line.reaching(settings):
        findings = list(examination.examine(settings, local_state.shown_url(settings)))
    facts = [
        {
            "status": found.status,
            "what": found.what,
            "detail": found.detail,
            "advice": advice(found, settings.namespace),
        }
        for found in findings
    ]
    screen.give(facts, show, as_json=as_json)
    if any(finding.status == "problem" for finding in findings):
        raise click.exceptions.Exit(command_line.TRY_LATER)


def advice(finding: Finding, namespace: str) -> str:
    """Say what to do about a finding."""
    told = ADVICE[finding.remedy]
    return "; ".join(told.format(about, namespace=namespace) for about in finding.about or ("",))


def show(findings: list[dict[str, str]]) -> None:
    """Print the findings for a person."""
    width = max(len(found["what"]) for found in findings)
    for found in findings:
        command_line.out.print(
            f"{MARKS[found['status']]}  {found['what']:<{width}}  {escape(found['detail'])}"
        )
        if found["advice"]:
            command_line.out.print(f"{'':9}{'':{width}}  -> {escape(found['advice'])}", style="bold")
