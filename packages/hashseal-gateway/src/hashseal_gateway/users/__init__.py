"""Who may do what: users with roles, and API keys of business systems."""
