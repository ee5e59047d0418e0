"""Feature flags: the provider that features ask, and its ConfigCat adapter. Knows no task."""

__all__ = ["configcat", "configcat_poller", "provider", "sources"]
