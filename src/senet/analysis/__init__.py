"""What the blocks of a network do: recorded statistics of their gates, and the paper's figures from them."""
