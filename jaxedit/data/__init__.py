"""Facts and the data sets that hold them."""
