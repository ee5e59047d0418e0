"""A batch run, interrupted in every way."""

import contextlib
import copy
import json
import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman_producer.batch import run as batch_run
from pointsman_producer.batch.journal import Journal
from pointsman_producer.batch.plan import Plan
from pointsman_producer.batch.progress import Progress, Watcher
from pointsman_producer.batch.run import Report
from pointsman_producer.client import stream, window
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors, names
from tests.support.fake_workers import Handle, Killed, Workers

N = 5
"""Texts per message in these tests."""


class Mortal(Workers):
    """Takes the whole process along."""

    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Patience(Watcher):
    """Wants to stop after so many outcomes."""

    def __init__(self, outcomes: int) -> None:
        self.left = outcomes
        self.seen: list[Progress] = []

    def progressed(self, progress: Progress) -> None:
        self.seen.append(copy.copy(progress))

    def wants_stop(self) -> bool:
        return bool(self.seen) and self.seen[-1].outcomes >= self.left


class Impatient(Watcher):
    """Wants to stop when it was asked so many times."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def wants_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def write_input(folder: Path, conversations: int = 9, name: str = "in.jsonl") -> Path:
    """Write conversations of one to five turns, every other by the customer, some lines bad."""
    path = folder / name
    with path.open("w") as file:
        for number in range(conversations):
            turns = [
                {
                    "speaker": "agent" if place % 2 else "customer",
                    "text": f"{'hi' if place else 'so'} {number} {place}",
                }
                for place in range(1 + number * 2 % 5)
            ]
            user = {"id": f"u{number % 3}", "custom": {"plan": "pro"}} if number % 2 else None
            file.write(json.dumps({"conversation_id": f"c{number}", "user": user, "turns": turns}) + "\n")
            file.write("nonsense\n" if number == 4 else "")
    return path


def plan_in(folder: Path, out: str = "out.jsonl", **more: Any) -> Plan:
    source = folder / "in.jsonl"
    if not source.exists():
        write_input(folder)
    defaults: dict[str, Any] = {"batch_id": "b", "texts_per_message": N, "window": 3}
    return Plan(source=str(source), out=folder / out, **{**defaults, **more})


def run(plan: Plan, workers: Workers | None = None, watcher: Watcher | None = None) -> Report:
    report = batch_run.run(plan, (workers or Workers()).connect, watcher)
    assert report is not None
    return report


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "in.jsonl"}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def expected_turns(source: Path) -> list[tuple[str, int, str]]:
    return [
        (record["conversation_id"], place, turn["text"])
        for line in source.read_text().splitlines()
        if line != "nonsense"
        for record in [json.loads(line)]
        for place, turn in enumerate(record["turns"])
        if turn["speaker"] == "customer"
    ]


def test_every_customer_turn_gets_one_outcome_in_order(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    report = run(plan)
    found = rows(plan.out)
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in found] == expected_turns(
        Path(plan.source)
    )
    assert (
        len({row["job_id"] for row in found})
        == len(found)
        == report.progress.outcomes
        == report.progress.tally.total()
    )
    assert {row["tier"] for row in found if row["user_id"]} == {"pro"}
    assert {row["tier"] for row in found if not row["user_id"]} == {"base"}
    assert sorted(files(tmp_path)) == ["out.conversations.jsonl", "out.jsonl", "out.jsonl.rejected.jsonl"]


def test_a_message_holds_the_turns_its_number_says(tmp_path: Path) -> None:
    workers, plan = Workers(), plan_in(tmp_path)
    run(plan, workers)
    texts = [text for _, _, text in expected_turns(Path(plan.source))]
    sent = [workers.requests[stream.message_id("b", number)] for number in range(len(workers.requests))]
    assert [request.texts for request in sent] == [texts[at : at + N] for at in range(0, len(texts), N)]
    assert {request.batch for request in sent} == {"b"}
    assert workers.queues == {names.BULK_QUEUE}
    row = rows(plan.out)[N + 2]
    assert row["job_id"] == names.job_id(stream.message_id("b", 1), 2)


def test_no_more_messages_are_in_flight_than_the_window_allows(tmp_path: Path) -> None:
    for size in (1, 3):
        workers = Workers()
        run(plan_in(tmp_path, f"{size}.jsonl", window=size, texts_per_message=1), workers)
        assert workers.most_in_flight == size


def test_conversations_are_summed_up_beside_the_outcomes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    report = run(plan)
    summaries = rows(plan.conversations)
    assert [summary["conversation_id"] for summary in summaries] == [f"c{number}" for number in range(9)]
    assert sum(summary["turns"] for summary in summaries) == report.progress.outcomes
    assert summaries[1]["intents"] == [names.OUT_OF_SCOPE, "greeting"]
    assert (summaries[1]["primary_intent"], summaries[1]["out_of_scope_share"]) == ("greeting", 0.5)
    assert report.conversations == 9


def test_a_malformed_line_is_rejected_with_its_number(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert run(plan).progress.rejected == 1
    (rejected,) = rows(plan.rejected)
    assert (rejected["line"], rejected["content"]) == (6, "nonsense")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_other_formats_hold_the_same_outcomes(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    plan = plan_in(tmp_path, f"out.{ending}", ranking=2)
    total = run(plan).progress.outcomes
    if ending == "parquet":
        assert parquet.read_table(plan.out).num_rows == total
        assert parquet.read_table(plan.conversations).num_rows == 9
    else:
        header, *outcomes = plan.out.read_text().splitlines()
        assert header.endswith(",ranking_2_intent,ranking_2_confidence")
        assert len(outcomes) == total
        assert len(plan.conversations.read_text().splitlines()) == 9 + 1
    assert set(files(tmp_path)) == {
        f"out.{ending}",
        f"out.conversations.{ending}",
        f"out.{ending}.rejected.jsonl",
    }


@pytest.mark.parametrize(("raw", "cell"), [(False, ",'=1+1,"), (True, ",=1+1,")])
def test_a_table_of_outcomes_holds_no_formula_unless_it_is_to_be_raw(
    tmp_path: Path, raw: bool, cell: str
) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"conversation_id": "-c", "turns": [{"speaker": "customer", "text": "=1+1"}]}\n'
    )
    plan = plan_in(tmp_path, "out.csv", raw=raw)
    run(plan)
    assert cell in plan.out.read_text()
    assert plan.conversations.read_text().splitlines()[1].startswith("-c" if raw else "'-c")


@example(answered=2, torn=4000, ending="csv")
@example(answered=3, torn=2500, ending="jsonl")
@given(answered=st.integers(0, 5), torn=st.integers(0, 4000), ending=st.sampled_from(["jsonl", "csv"]))
def test_a_run_killed_anywhere_and_resumed_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, answered: int, torn: int, ending: str
) -> None:
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    run(plan_in(whole, f"out.{ending}"))
    plan = plan_in(cut, f"out.{ending}")
    with contextlib.suppress(Killed):
        run(plan, Workers(fail_after=answered))
    if plan.journal.exists():
        # A kill may also have come in the middle of a row.
        os.truncate(plan.journal, min(torn, plan.journal.stat().st_size))
        run(plan_in(cut, f"out.{ending}", resume=True, batch_id=None))
    assert files(cut) == files(whole)


def test_a_run_that_kill_9_ended_is_completed_without_doing_again_what_is_written(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    child = os.fork()
    if child == 0:
        run(plan, Mortal(fail_after=2))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not plan.out.exists()
    workers = Workers()
    report = run(plan_in(tmp_path, resume=True), workers)
    assert report.progress.resumed == 2 * N
    assert stream.message_id("b", 0) not in workers.requests
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in rows(plan.out)] == expected_turns(
        Path(plan.source)
    )


def test_a_message_that_is_written_in_part_is_asked_for_again_whole(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=2))
    kept = plan.journal.read_bytes().splitlines(keepends=True)[: N + 2]
    plan.journal.write_bytes(b"".join(kept))
    workers = Workers()
    assert run(plan_in(tmp_path, resume=True), workers).progress.resumed == N + 2
    assert len(workers.requests[stream.message_id("b", 1)].texts) == N


def test_outcomes_are_released_only_when_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "RELEASE_MESSAGES", 2)
    plan, workers = plan_in(tmp_path), Workers()

    def check(message_ids: Sequence[str]) -> None:
        written = {names.parse_job_id(row["job_id"])[0] for row in rows(plan.journal)}
        assert set(message_ids) <= written

    workers.on_release = check
    run(plan, workers)
    assert sorted(workers.released) == sorted(workers.requests)


def test_outcomes_that_cannot_be_released_do_not_spoil_the_batch(tmp_path: Path) -> None:
    def fail(message_ids: Sequence[str]) -> None:
        raise errors.BrokerUnavailableError

    workers = Workers()
    workers.on_release = fail
    assert run(plan_in(tmp_path), workers).complete


def test_a_stopped_run_keeps_what_is_there_and_is_completed_later(tmp_path: Path) -> None:
    small: dict[str, Any] = {"window": 1, "texts_per_message": 2}
    plan = plan_in(tmp_path, **small)
    report = run(plan, watcher=Patience(4))
    assert (report.complete, report.progress.outcomes) == (False, len(rows(plan.journal)))
    assert 4 <= report.progress.outcomes < len(expected_turns(Path(plan.source)))
    assert run(plan_in(tmp_path, resume=True, **small)).complete
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in rows(plan.out)] == expected_turns(
        Path(plan.source)
    )


def test_a_stopped_run_keeps_what_is_ready_but_unread(tmp_path: Path) -> None:
    report = run(plan_in(tmp_path), watcher=Impatient(2))
    assert (report.complete, report.progress.outcomes) == (False, 2 * N)


def test_a_stop_is_heeded_while_nothing_arrives(tmp_path: Path) -> None:
    report = run(plan_in(tmp_path), Workers(patience=10**9), Impatient(6))
    assert (report.complete, report.progress.outcomes) == (False, 0)
    assert run(plan_in(tmp_path, resume=True, batch_id=None)).batch == "b"


def test_replies_that_take_their_time_are_waited_for(tmp_path: Path) -> None:
    assert run(plan_in(tmp_path), Workers(patience=3)).complete


def test_no_outcome_in_the_time_given_ends_the_run_with_its_journal(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, timeout_s=0.0)
    with pytest.raises(errors.ResultTimeoutError, match="are workers running"):
        run(plan, Workers(patience=10**9))
    assert plan.journal.exists()


def test_redis_lost_on_the_way_leaves_a_journal_that_resumes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(errors.BrokerUnavailableError):
        run(plan, Workers(fail_after=2, error=errors.BrokerUnavailableError("gone")))
    assert run(plan_in(tmp_path, resume=True)).progress.resumed == 2 * N


def test_redis_away_from_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def connect() -> Iterator[Workers]:
        raise errors.BrokerUnavailableError
        yield Workers()

    with pytest.raises(errors.BrokerUnavailableError):
        batch_run.run(plan_in(tmp_path), connect)
    assert files(tmp_path) == {}


def test_a_message_that_a_worker_gave_up_is_named_with_its_lines(tmp_path: Path) -> None:
    failure = errors.JobFailedError("it is a dead letter")
    expected = (
        rf"message {stream.message_id('b', 1)} \(lines \d+ to \d+ of .*in.jsonl\) failed: it is a dead letter"
    )
    with pytest.raises(errors.JobFailedError, match=expected):
        run(plan_in(tmp_path), Workers(fail_after=1, error=failure))


def test_progress_reaches_the_end_of_the_file(tmp_path: Path) -> None:
    watcher = Patience(10**9)
    plan = plan_in(tmp_path)
    report = run(plan, watcher=watcher)
    positions = [progress.position for progress in watcher.seen]
    assert positions == sorted(positions)
    assert positions[-1] == report.progress.size == Path(plan.source).stat().st_size


def test_resuming_a_complete_run_asks_no_worker(tmp_path: Path) -> None:
    run(plan_in(tmp_path))
    workers = Workers()
    assert batch_run.run(plan_in(tmp_path, resume=True), workers.connect) is None
    assert workers.connections == 0


def test_resuming_a_run_that_never_started_starts_it(tmp_path: Path) -> None:
    assert run(plan_in(tmp_path, resume=True)).complete


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    before = files(tmp_path)
    with pytest.raises(errors.InvalidDataError, match="from a batch that was not completed") as refusal:
        run(plan)
    assert refusal.value.remedy == errors.Remedy.RESUME_OR_START_OVER
    assert files(tmp_path) == before
    run(plan_in(tmp_path, resume=True))
    before = files(tmp_path)
    with pytest.raises(errors.InvalidDataError, match="exists") as refusal:
        run(plan)
    assert refusal.value.remedy == errors.Remedy.OVERWRITE
    assert files(tmp_path) == before
    assert run(plan_in(tmp_path, force=True, batch_id="other")).batch == "other"


def test_a_batch_id_that_was_used_for_other_texts_is_refused_with_the_way_out(tmp_path: Path) -> None:
    class Known(Workers):
        def submit_message(self, *_: object, message_id: str, **__: object) -> Handle:
            msg = f"message id {message_id} is that of another request"
            raise errors.ConflictError(msg)

    with pytest.raises(errors.InvalidDataError, match="batch b was run before, with other texts") as refusal:
        run(plan_in(tmp_path, batch_id="b"), Known())
    assert refusal.value.remedy == errors.Remedy.START_OVER


def test_a_forced_run_of_a_named_batch_drops_its_earlier_outcomes_and_counters(tmp_path: Path) -> None:
    first, forced = Workers(), Workers()
    run(plan_in(tmp_path, batch_id="b"), first)
    assert first.forgotten == []
    run(plan_in(tmp_path, batch_id="b", force=True), forced)
    assert forced.forgotten[:2] == [stream.message_id("b", 0), "b"]
    assert [each for each in forced.forgotten[2:] if each is not None] == list(forced.requests)[1:]


def test_a_forced_run_leaves_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    run(plan)
    before = plan.out.read_bytes()
    with pytest.raises(Killed):
        run(plan_in(tmp_path, force=True, batch_id="other"), Workers(fail_after=2))
    assert plan.out.read_bytes() == before
    assert run(plan_in(tmp_path, resume=True, batch_id=None)).batch == "other"
    assert plan.out.read_bytes() != before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"speakers": ("all",)}, "started for the speakers customer, not all"),
        ({"include_text": False}, "started with the texts"),
        ({"ranking": 2}, "started with rankings of 1, not of 2"),
        ({"batch_id": "other"}, "its batch is b"),
    ],
)
def test_a_journal_is_resumed_only_for_the_run_it_was_started_for(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    before = files(tmp_path)
    with pytest.raises(errors.InvalidDataError, match=reason):
        run(plan_in(tmp_path, resume=True, **changes))
    assert files(tmp_path) == before


def test_a_journal_is_not_resumed_over_another_input(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    content = Path(plan.source).read_text()
    Path(plan.source).write_text(content.replace("hi 1 2", "hi 1 3"))
    with pytest.raises(errors.InvalidDataError, match="is not, or no longer, the file it was started with"):
        run(plan_in(tmp_path, resume=True))


@pytest.mark.parametrize(("old", "new"), [('"turn":2', '"turn":3'), ('"text":"hi 1 2"', '"text":"hi 1 3"')])
def test_outcomes_of_another_input_are_noticed_even_where_the_header_agrees(
    tmp_path: Path, old: str, new: str
) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    plan.journal.write_text(plan.journal.read_text().replace(old, new))
    with pytest.raises(errors.InvalidDataError, match="its outcomes are not those of"):
        run(plan_in(tmp_path, resume=True))


def test_a_journal_longer_than_its_input_is_refused(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    run(plan_in(tmp_path, "other.jsonl"))
    plan.journal.write_bytes((tmp_path / "other.jsonl").read_bytes() * 2)
    with pytest.raises(errors.InvalidDataError, match="its outcomes are not those of"):
        run(plan_in(tmp_path, resume=True))


def test_a_journal_without_its_header_is_refused(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    plan.header.unlink()
    with pytest.raises(errors.InvalidDataError, match=r"header\.partial is gone"):
        run(plan_in(tmp_path, resume=True))


def test_the_size_of_messages_is_that_of_the_first_run(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    workers = Workers()
    run(plan_in(tmp_path, resume=True, texts_per_message=100), workers)
    assert max(len(request.texts) for request in workers.requests.values()) == N


def test_two_runs_do_not_write_the_same_output(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with contextlib.closing(Journal(plan.journal, plan.header)) as other:
        other.begin(b"{}")
        for again in (plan_in(tmp_path, resume=True), plan_in(tmp_path, force=True)):
            with pytest.raises(errors.BusyError):
                run(again)


def test_without_a_choice_each_batch_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = {run(plan_in(tmp_path, f"{n}.jsonl", batch_id=None)).batch for n in range(2)}
    assert len({uuid.UUID(batch_id) for batch_id in ids}) == 2


def test_texts_can_be_left_out_of_the_outcomes(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, include_text=False)
    with pytest.raises(Killed):
        run(plan, Workers(fail_after=1))
    run(plan_in(tmp_path, include_text=False, resume=True))
    assert not any("text" in row for row in rows(plan.out))


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_an_error_as_it_is_for_the_other_commands(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.jsonl").write_text(content)
    with pytest.raises(errors.InvalidDataError, match=r"in\.jsonl: holds no texts"):
        run(plan_in(tmp_path))
    assert files(tmp_path) == {}


def test_a_file_without_the_asked_speaker_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, speakers=("visitor",))
    with pytest.raises(
        errors.InvalidDataError, match="no turn by visitor: choose a speaker among agent, customer"
    ):
        run(plan)
    assert sorted(files(tmp_path)) == ["out.jsonl.rejected.jsonl"]


def test_a_file_of_which_no_line_can_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("a\nb\n")
    with pytest.raises(
        errors.InvalidDataError, match=r"no line of .* can be used: .*rejected.jsonl says why"
    ):
        run(plan_in(tmp_path))
    assert len(rows(plan_in(tmp_path).rejected)) == 2


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    for out in ("in.jsonl", "./in.jsonl"):
        with pytest.raises(errors.InvalidDataError, match="would be overwritten"):
            run(plan_in(tmp_path, out, force=True))


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    workers = Workers()
    for out, reason in (("absent/out.jsonl", "is not a folder"), ("out.doc", "has to end in one of")):
        with pytest.raises(errors.InvalidDataError, match=reason):
            run(plan_in(tmp_path, out), workers)
    with pytest.raises(errors.InvalidDataError, match="batch: is empty"):
        run(plan_in(tmp_path, batch_id=""), workers)
    assert workers.connections == 0


def test_a_run_that_met_a_full_disk_can_be_resumed(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with pytest.raises(errors.RetryableError, match="cannot be written: No space left on device"):
        run(plan, Workers(fail_after=1, error=OSError(28, "No space left on device")))
    assert run(plan_in(tmp_path, resume=True)).progress.resumed == N


def test_rejected_lines_are_reported_as_they_are_found(tmp_path: Path) -> None:
    class Listener(Watcher):
        def __init__(self) -> None:
            self.lines: list[int] = []

        def rejected(self, rejection: transcript_reader.Rejection) -> None:
            self.lines.append(rejection.line)

    listener = Listener()
    run(plan_in(tmp_path), watcher=listener)
    assert listener.lines == [6]
