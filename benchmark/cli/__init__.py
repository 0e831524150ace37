"""The command line: one module a group of commands; heavy imports stand inside the command that needs them."""
