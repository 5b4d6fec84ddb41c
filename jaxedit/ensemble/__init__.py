"""OnceEdit: one edited plug-in model corrects any number of target models."""
