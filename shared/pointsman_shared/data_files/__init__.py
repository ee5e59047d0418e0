"""The rows of labelled data files, read and checked. Knows no tier and no Redis."""

__all__ = ["cells", "rows", "utterances", "validation"]
