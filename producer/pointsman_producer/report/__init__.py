"""Show the report on a comparison, in a terminal or as a page. Knows no statistics."""

__all__ = ["page", "terminal"]
