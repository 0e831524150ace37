"""Facts about the models of the board, one file a family; a module's ``CARDS`` are found by scanning this folder."""
