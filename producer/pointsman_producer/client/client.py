"""The client: submit jobs, read outcomes. Needs Celery, Redis and pydantic; never a model."""

import contextlib
import os
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr

from pointsman_producer.client import cancellation
from pointsman_producer.client import window as windows
from pointsman_producer.client.coalescer import Coalescer, Draft
from pointsman_producer.client.handles import Handle, MessageHandle, TaskHandle
from pointsman_producer.client.publisher import Outbox
from pointsman_producer.client.results import Inbox
from pointsman_producer.client.shadow import ShadowClient
from pointsman_producer.client.stream import TEXTS_PER_MESSAGE, Stream, TurnOutcome
from pointsman_producer.client.users import UserLike, as_user, checked_request
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings, problem_of_url
from pointsman_shared.store.backpressure import Pressure
from pointsman_shared.store.connection import Store
from pointsman_shared.store.training_claims import TrainingClaims
from pointsman_shared.wire import jobs

DEFAULT_TIMEOUT_S = 30.0
MAX_LINGER_MS = 60_000
# Long enough for a resumed batch to find the outcomes that the interrupted run had just written to its journal.
RELEASED_TTL_S = 600


class Client:
    """Submits classification and training jobs and reads their outcomes.

    Safe to share between threads. After a fork, the child's copy makes connections and a thread of its own; it does not hear
    of what was submitted before.

    Args:
        redis_url: The URL of Redis; by default that of the settings.
        settings: All settings; by default they are read from the environment.
        linger_ms: How long a single job may wait for others to share its message. With 0, `submit` sends each job at
            once, and `classify` those together that were added while a message was sent.
        max_batch: The most single jobs of a message, at most 2,000.

    Raises:
        SettingsError: A setting, or the URL, cannot be used.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        linger_ms: float = 0,
        max_batch: int = 500,
    ) -> None:
        if not 0 <= linger_ms <= MAX_LINGER_MS:
            msg = f"linger_ms is {linger_ms}: it is 0 to {MAX_LINGER_MS} milliseconds"
            raise errors.SettingsError(msg)
        settings = settings or Settings.from_env()
        if redis_url is not None:
            if (problem := problem_of_url(redis_url)) is not None:
                msg = f"redis_url: {problem}"
                raise errors.SettingsError(msg)
            settings = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
        self.settings = settings
        self._lingers = linger_ms > 0
        self._limits: Any = {"linger_s": linger_ms / 1000, "max_batch": max_batch}
        self._is_closed = False
        self._connect()
        _clients.add(self)

    def _connect(self) -> None:
        """Make the parts anew, as after a fork: connections and threads do not survive one."""
        settings = self.settings
        self.id = uuid.uuid4().hex
        self._store = Store.connect(settings)
        self._outbox = Outbox(settings, self.id)
        self._inbox = Inbox(self._store, self.id)
        self._pressure = Pressure(self._store, settings)
        self._claims = TrainingClaims(self._store)
        self.shadow = ShadowClient(self._ask, self._store)
        self._coalescer = Coalescer(self._send_draft, new_id, **self._limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send the jobs that linger, stop listening, close the connections."""
        self._coalescer.close()
        self._is_closed = True
        self._inbox.close()
        self._outbox.close()
        self._store.close()

    def classify(
        self,
        text: str,
        *,
        user: UserLike = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        include_text: bool = True,
        ranking: int = 1,
    ) -> jobs.Outcome:
        """Classify one text and wait for the outcome.

        Args:
            text: At most `jobs.MAX_TEXT_CHARS` characters.
            user: The user of the text: a `User`, a bare id, or None.
            timeout_s: How long this may take in all, a full queue and a slow Redis included.
            include_text: Whether the outcome repeats the text.
            ranking: How many of the likeliest intents the outcome ranks, at most `jobs.MAX_RANKING`.

        Raises:
            InvalidMessageError: The text or the user breaks a limit.
            QueueFullError: The queue was full, and stayed so for the time that a producer waits.
            BrokerUnavailableError: The broker did not take the job.
            ResultTimeoutError: No outcome arrived in time.
        """
        # The coalescer sends from a thread of its own, so that nothing keeps the caller longer than the timeout.
        handle = self.coalesce(text, user=user, ranking=ranking)
        try:
            return handle.result(timeout_s, include_text=include_text)
        except errors.ResultTimeoutError:
            self.give_up(handle)
            raise

    def submit(self, text: str, *, user: UserLike = None, ranking: int = 1) -> Handle:
        """Submit one text with priority, for a caller who waits; see `classify`."""
        if self._lingers:
            return self.coalesce(text, user=user, ranking=ranking)
        request = checked_request([text], [as_user(user)], ranking=ranking)
        return Handle(self.submit_message(request, queue=names.INTERACTIVE_QUEUE), 0, text)

    def coalesce(self, text: str, *, user: UserLike = None, ranking: int = 1) -> Handle:
        """Submit one text in a message that it shares with others, and return before it is sent; see `classify`."""
        for_user = as_user(user)
        checked_request([text], [for_user], ranking=ranking)
        return self._coalescer.add(text, for_user, ranking)

    def give_up(self, handle: Handle) -> None:
        """Stop waiting for a job of `coalesce`: if it was not sent yet, it will not be."""
        self._coalescer.give_up(handle)

    def submit_many(
        self,
        texts: Sequence[str],
        *,
        users: UserLike | Sequence[UserLike] = None,
        batch: str | None = None,
        queue: str = names.BULK_QUEUE,
        ranking: int = 1,
    ) -> list[Handle]:
        """Submit many texts in few messages, and return at once, with one handle for each text, in order.

        Args:
            texts: Any number of texts.
            users: One user for all texts, or one entry for each text.
            batch: A batch whose progress is counted; see `progress`.
            queue: `bulk`, or `interactive` for work with priority.
            ranking: How many of the likeliest intents each outcome ranks, at most `jobs.MAX_RANKING`.

        Raises:
            InvalidMessageError: A text, a user or the queue cannot be used; nothing was submitted.
            BrokerUnavailableError: The broker stopped taking messages; some may have been submitted.
        """
        if isinstance(texts, str | bytes):
            msg = "texts is one text: give a list, or use submit"
            raise errors.InvalidMessageError(msg)
        if queue not in names.SERVING_QUEUES:
            msg = f"no worker reads a queue {queue!r}: it is one of {', '.join(names.SERVING_QUEUES)}"
            raise errors.InvalidMessageError(msg)
        if users is None or isinstance(users, jobs.User | str | Mapping):
            people = [as_user(users)] * len(texts)
        else:
            people = [as_user(user) for user in users]
        if len(people) != len(texts):
            msg = f"{len(people)} users were given for {len(texts)} texts"
            raise errors.InvalidMessageError(msg)
        parts = [slice(start, start + TEXTS_PER_MESSAGE) for start in range(0, len(texts), TEXTS_PER_MESSAGE)]
        requests = [checked_request(texts[part], people[part], batch, ranking=ranking) for part in parts]
        messages = [self.submit_message(request, queue=queue) for request in requests]
        return [
            Handle(message, place, text)
            for message, request in zip(messages, requests, strict=True)
            for place, text in enumerate(request.texts)
        ]

    def classify_transcripts(
        self,
        path: str | Path,
        *,
        speakers: Sequence[str] = (transcript_reader.CUSTOMER,),
        window: int = windows.DEFAULT_SIZE,
        timeout_s: float = windows.DEFAULT_TIMEOUT_S,
        reject: Callable[[transcript_reader.Rejection], None] | None = None,
        include_text: bool = True,
        ranking: int = 1,
    ) -> Iterator[TurnOutcome]:
        """Classify a transcript file of any size through the bulk queue, and yield the outcomes in the file's order.

        The file is read ahead by `window` messages. Outcomes that were yielded leave Redis soon.

        Args:
            path: JSON lines, CSV or plain text, perhaps gzipped; see `transcripts.Reader`.
            speakers: The speakers whose turns are classified, in any case; `all` for everybody.
            window: The most messages in flight; memory use grows with it.
            timeout_s: How long to wait for the next message's outcomes.
            reject: Called with each line that cannot be used, which is then left out. Without it, the first such
                line raises an error as soon as it is read, before the outcomes of earlier lines.
            include_text: Whether the outcomes repeat the texts.
            ranking: How many of the likeliest intents each outcome ranks, at most `jobs.MAX_RANKING`.

        Raises:
            SettingsError: `window` is less than 1, or `speakers` is empty.
            InvalidDataError: While iterating, like the following: the file, or a line of it, cannot be used.
            BrokerUnavailableError: The broker did not take a message.
            ResultTimeoutError: No outcome arrived in time.
            JobFailedError: A worker gave a message up; the error names its lines.
        """
        return Stream(path, speakers, window, timeout_s, reject, include_text, ranking).outcomes(self)

    def submit_message(
        self, request: jobs.ClassifyRequest, *, message_id: str | None = None, queue: str = names.BULK_QUEUE
    ) -> MessageHandle:
        """Submit one message as it is.

        A finished message with the same `message_id` returns its stored reply and is not done again.

        Raises:
            QueueFullError: The queue was full, and stayed so for the time that a producer waits.
            BrokerUnavailableError: The broker did not take the message.
        """
        message = MessageHandle(message_id or new_id())
        self._send_request(message, request, queue)
        return message

    def train(
        self,
        tier: str,
        *,
        requested_by: str = "client",
        promote: bool = True,
        on_busy: Literal["refuse", "join"] = "refuse",
    ) -> TaskHandle[jobs.TrainReply]:
        """Request a training run of a tier; see `TrainRequest`.

        Args:
            tier: The name of the tier.
            requested_by: The name of the person or service, for the history.
            promote: Whether a version that passes the gate becomes the champion.
            on_busy: If a run of the tier waits or runs already: `refuse` fails, `join` waits for that run.

        Raises:
            BusyError: Another run of the tier waits or runs.
            BrokerUnavailableError: The broker did not take the request.
        """
        request = jobs.TrainRequest.parse({"tier": tier, "requested_by": requested_by, "promote": promote})
        self._require_open()
        mine = new_id()
        run = self._claims.book(tier, mine)
        if run != mine and on_busy == "refuse":
            msg = f"tier {tier} is being trained already, by run {run}: join it, or wait for its end"
            raise errors.BusyError(msg, errors.Remedy.JOIN)
        handle = TaskHandle(run, jobs.TrainReply.model_validate, self._inbox.fetch)
        try:
            self._inbox.expect(handle.id, handle.future)
            if run == mine:
                self._send(names.TRAIN_TASK, request.model_dump(), handle, names.TRAIN_QUEUE, f"tier {tier}")
        except errors.PointsmanError:
            if run == mine:
                # Without Redis, the booking expires by itself.
                with contextlib.suppress(errors.RetryableError):
                    self._claims.unbook(tier, run)
            raise
        return handle

    def cancel_training(self, tier: str) -> str | None:
        """Ask the tier's training run to stop at its next step, and return its id; None if there is no run."""
        return self._claims.cancel(tier, self.id)

    def models(
        self,
        action: str,
        *,
        tier: str | None = None,
        version: int | None = None,
        **more: Any,  # noqa: ANN401  the fields of ModelsQuery
    ) -> TaskHandle[list[dict[str, Any]]]:
        """Ask the registry, or change it, through a worker; see `ModelsQuery` for the actions and their fields.

        A trainer does `verify`, because that needs the training data.
        """
        query = jobs.ModelsQuery.parse({"action": action, "tier": tier, "version": version, **more})
        queue = names.TRAIN_QUEUE if query.action == "verify" else names.INTERACTIVE_QUEUE
        return self._ask(names.MODELS_TASK, query.model_dump(exclude_defaults=True), queue, action)

    def progress(self, batch: str) -> dict[str, int]:
        """Read a batch's counters: `done` texts, and how many per tier and intent. One round trip, never a scan."""
        stored: Mapping[bytes, bytes] = self._store.hgetall(self._store.keys.batch(batch))  # type: ignore[assignment]
        return {field.decode(): int(count) for field, count in stored.items()}

    def release(self, message_ids: Iterable[str]) -> None:
        """Let outcomes expire soon that the caller has stored, so that Redis does not keep a large batch as well."""
        results = [self._store.keys.result(message_id) for message_id in message_ids]
        pipeline = self._store.pipeline(transaction=False)
        for result in results:
            pipeline.ttl(result)
        # Redis 6.2 has no EXPIRE that only shortens. -1 is a result that never expires, -2 one that is gone.
        for result, ttl_s in zip(results, pipeline.execute(), strict=True):
            if ttl_s == -1 or ttl_s > RELEASED_TTL_S:
                pipeline.expire(result, RELEASED_TTL_S)
        pipeline.execute()

    def lost(self, message_ids: Iterable[str]) -> list[str]:
        """Return those of the submitted messages that Redis knows nothing of any more, as after it lost its memory."""
        keys, ids = self._store.keys, list(message_ids)
        pipeline = self._store.pipeline(transaction=False)
        for message_id in ids:
            pipeline.exists(keys.open(message_id), keys.result(message_id))
        return [message_id for message_id, known in zip(ids, pipeline.execute(), strict=True) if not known]

    def forget(self, message_ids: Iterable[str], *, batch: str | None = None) -> None:
        """Drop the outcomes of messages, so that submitting them again does them again; and a batch's counters."""
        keys = self._store.keys
        gone = [key(message_id) for message_id in message_ids for key in (keys.result, keys.done)]
        if batch is not None:
            gone += [keys.batch(batch), keys.cancelled(batch)]
        if gone:
            self._store.delete(*gone)

    def cancel(self, job_or_message_id: str) -> bool:
        """Cancel a message with all its jobs; return False if it has an outcome already, or if there is none.

        Their results raise a `CancelledError`.
        """
        # A job's id is its message's id and its place; the id of a scheduled message holds colons as well.
        message_id, _, place = job_or_message_id.rpartition(":")
        ids = (job_or_message_id, message_id) if place.isdecimal() else (job_or_message_id,)
        return any(cancellation.cancel(self._store, each, self.settings.result_ttl_s) for each in ids)

    def cancel_batch(self, batch: str) -> None:
        """Cancel the part of a batch that has not started; workers drop its messages when they come to them."""
        cancellation.cancel_batch(self._store, batch, self.settings.result_ttl_s)

    def _ask(self, task: str, payload: dict[str, Any], queue: str, summary: str) -> TaskHandle[Any]:
        self._require_open()
        handle: TaskHandle[Any] = TaskHandle(new_id(), lambda value: value, self._inbox.fetch)
        self._inbox.expect(handle.id, handle.future)
        self._send(task, payload, handle, queue, summary)
        return handle

    def _send_draft(self, draft: Draft) -> None:
        request = checked_request(draft.texts, draft.users, ranking=draft.ranking)
        self._send_request(draft.message, request, names.INTERACTIVE_QUEUE)

    def _send_request(self, message: MessageHandle, request: jobs.ClassifyRequest, queue: str) -> None:
        self._require_open()
        self._pressure.wait_for_room(queue, is_wanted=lambda: not message.future.cancelled())
        self._inbox.expect(message.id, message.future)
        # Not model_dump: the texts are valid, and copying them costs more than sending them.
        payload: dict[str, Any] = {
            "texts": request.texts,
            "users": [user.model_dump(exclude_defaults=True) for user in request.users],
            "user_of": request.user_of,
            "batch": request.batch,
            "include_texts": request.include_texts,
            "ranking": request.ranking,
            "submitted_at": time.time(),
        }
        of_batch = f", batch {request.batch}" if request.batch else ""
        summary = f"{len(request.texts)} text{'s' if len(request.texts) > 1 else ''}{of_batch}"
        self._send(names.CLASSIFY_TASK, payload, message, queue, summary)

    def _require_open(self) -> None:
        if self._is_closed:
            msg = "the client is closed: make another one"
            raise errors.ClosedError(msg)

    def _send(
        self,
        task: str,
        payload: Mapping[str, Any],
        handle: MessageHandle | TaskHandle[Any],
        queue: str,
        summary: str,
    ) -> None:
        try:
            self._outbox.send(
                task, payload, message_id=handle.id, queue=self._store.keys.queue(queue), summary=summary
            )
        except errors.PointsmanError:
            self._inbox.forget(handle.id, handle.future)
            raise


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._connect()


os.register_at_fork(after_in_child=_after_fork)


def new_id() -> str:
    """Make a message id."""
    return str(uuid.uuid4())
