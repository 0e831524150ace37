"""File formats, one a module: each holds a `TableReader` named ``READER``."""
