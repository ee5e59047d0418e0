"""Handles whose answer is there already."""

from typing import Any

from pointsman_producer.client.handles import TaskHandle


def answered(value: Any) -> TaskHandle[Any]:
    """Make the handle of a question whose answer has come."""
    handle: TaskHandle[Any] = TaskHandle("m", lambda _: value, lambda _: None)
    handle.future.set_result(b'{"status": "SUCCESS", "result": []}')
    return handle
