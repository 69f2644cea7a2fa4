"""One self-contained HTML page out of a comparison's result."""
