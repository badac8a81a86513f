"""Every read of the singletons and of the event log. The writes are in `golive.controls`."""
