"""How a message is received, checked, counted and closed exactly once. Knows no feature."""
