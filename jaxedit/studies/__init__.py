"""Questions about the methods themselves, each answered by a file that measures."""
