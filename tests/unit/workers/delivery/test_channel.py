"""What the worker's channel takes over from kombu."""

import ast
import hashlib
import inspect
import textwrap

from kombu.transport import redis as kombu_redis

# Of `_brpop_read` in kombu 5.7, without comments and layout.
COPIED = "61a2bfc9294c1c8c"


def test_kombu_still_reads_a_queue_as_our_copy_does() -> None:
    """If it fails: bring `channel.Channel._brpop_read` in line with kombu's, then change the digest."""
    source = textwrap.dedent(inspect.getsource(vars(kombu_redis.Channel)["_brpop_read"]))
    code = ast.unparse(ast.parse(source))
    assert hashlib.sha256(code.encode()).hexdigest()[:16] == COPIED
