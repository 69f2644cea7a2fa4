"""Channel pruning: which channels go together, which matter, how many may go, and the network without them."""
