"""Who asks: accounts and tokens, their addresses, signing in, and who has failed to too often."""
