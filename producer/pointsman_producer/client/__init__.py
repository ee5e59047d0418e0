"""Submit jobs and read their outcomes. Knows no file format and no terminal."""
