"""Read transcripts: JSON lines and CSV become conversations. Knows no queue."""

__all__ = ["fields", "reader"]
