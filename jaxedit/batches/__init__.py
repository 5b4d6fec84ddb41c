"""Many runs at once: batch files, a pool of local slots, the table; `python -m jaxedit.launch`."""
