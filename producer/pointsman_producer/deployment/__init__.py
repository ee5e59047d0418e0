"""Start and supervise a local deployment: Redis, workers, trainer, beat, Flower. Must not know commands."""

__all__ = ["embedded_redis", "launcher", "log_view", "signals", "state"]
