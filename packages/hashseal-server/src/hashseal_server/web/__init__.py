"""HTTP: the native API, the public PKI endpoints, problems, OpenAPI."""
