"""The client: submit jobs and read outcomes. Must not know models, files that people write, or the command line."""
