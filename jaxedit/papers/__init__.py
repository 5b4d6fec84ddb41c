"""The two papers: what they print, and their tables and figures made anew beside it."""
