"""Find out whether a deployment works, and what to do if it does not. Knows no command."""
