"""Every write of the singletons and of the event log, and nothing else may write them."""
