"""Find out whether a deployment works, and what would help. Must not know commands or the launcher."""

__all__ = ["examination", "findings", "probe"]
