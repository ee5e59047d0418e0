"""Find out whether a deployment works, and what would help. Must not know commands or the launcher."""
