"""The command line: each module here is one command, thin over the library beside it."""
