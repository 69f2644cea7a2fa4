"""Hours of training under faults, and beside a run that nothing disturbs."""
