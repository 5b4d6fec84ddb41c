"""The two papers' experiments: their runs, their printed numbers, and ours beside them."""
