"""The built-in certificate authority: profiles, linter, issuance, revocation, service, store."""
