"""The rows of labelled data files, read and checked. Knows no tier and no Redis."""
