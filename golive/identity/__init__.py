"""Who makes a request: accounts and tokens, client addresses, sign-in, and throttling of failed credentials."""
