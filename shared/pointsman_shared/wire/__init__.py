"""The messages on the queues and their replies, as pydantic models. Knows no Redis and no Celery."""

__all__ = ["jobs", "shadow", "shadow_report"]
