"""Single jobs, each in a message of its own, at a steady rate."""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Self

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import names
from pointsman_shared.wire import jobs


class Traffic:
    """Submits texts in turn, from a thread, until the block ends.

    Args:
        client: Who submits them.
        a_second: How many.
        texts: What they say.
    """

    def __init__(self, client: Client, a_second: int, texts: Sequence[str] = ("hello there",)) -> None:
        self.texts = [texts[0]]
        self.messages = [client.submit_message(_request(texts[0]), queue=names.INTERACTIVE_QUEUE)]
        self._client = client
        self._a_second = a_second
        self._turn = itertools.cycle(texts)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _submit(self) -> None:
        text = next(self._turn)
        self.messages.append(self._client.submit_message(_request(text), queue=names.INTERACTIVE_QUEUE))
        self.texts.append(text)

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            self._submit()
            ahead = len(self.messages) / self._a_second - (time.monotonic() - began)
            if ahead > 0:
                self._stopped.wait(ahead)


def _request(text: str) -> jobs.ClassifyRequest:
    return checked_request([text], [None])
