"""Events: what happened to an account's objects, for webhooks and for pulling by cursor."""
