"""Classify a file of transcripts, and resume it after an interruption. Must not know commands or terminals."""

__all__ = ["plan", "progress", "run"]
