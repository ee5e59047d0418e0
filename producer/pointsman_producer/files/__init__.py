"""Write tables, and read and write labels and comparisons. Knows no queue."""

__all__ = ["comparisons", "labels", "tables", "writers"]
