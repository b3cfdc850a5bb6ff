"""HTTP: the API of the gateway. The pages for people get modules of their own here."""
