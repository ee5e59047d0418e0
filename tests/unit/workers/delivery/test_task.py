"""How an unexpected failure is described."""

import pytest

from pointsman_workers.delivery.task import unexpected


@pytest.mark.parametrize(
    ("error", "is_retryable"),
    [
        (TimeoutError("the object store"), True),
        (ConnectionResetError("the object store"), True),
        (OSError(28, "No space left on device"), True),
        (PermissionError(13, "Permission denied"), False),
        (FileNotFoundError(2, "No such file"), False),
        (ValueError("could not convert: my card is 4111"), False),
    ],
)
def test_what_a_disk_or_a_network_refuses_can_be_tried_again(error: Exception, is_retryable: bool) -> None:
    described = unexpected(error)
    assert described.is_retryable is is_retryable
    assert str(described) == type(error).__name__
