"""What both sides read and write in Redis: the connection, the keys, shared scripts. Knows no Celery."""

__all__ = [
    "backpressure",
    "connection",
    "dead_letters",
    "heartbeat",
    "keys",
    "labels",
    "scripts",
    "training_claims",
]
