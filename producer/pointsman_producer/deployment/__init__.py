"""Start and supervise a local deployment: Redis, workers, trainer, beat, Flower. Knows no command."""
