"""Classify served texts again with other versions, and count the differences. Knows no serving."""

__all__ = ["task"]
