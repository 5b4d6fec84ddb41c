"""Which layers hold a model's facts: causal tracing and a sweep; `python -m jaxedit.locate`."""
