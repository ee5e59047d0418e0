"""Start and supervise a local deployment: Redis, workers, trainer, beat, Flower. Must not know commands."""
