"""Every write of the singletons and of the event log; nothing else may write them."""
