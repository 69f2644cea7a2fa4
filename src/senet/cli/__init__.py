"""The command line: `main` dispatches, every command is a module with `add_arguments` and `run`."""
