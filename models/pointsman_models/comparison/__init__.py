"""The statistics of two models on the same texts. Pure: knows no registry and no Redis."""

__all__ = ["counts", "labels", "report"]
