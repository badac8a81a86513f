"""Every read of the singletons and of the event log. What is written is in `golive.controls`."""
