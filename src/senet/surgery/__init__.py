"""Looking into a network that exists, and changing it: traces, graphs, roles, probes, hooks."""
