"""What talks to the outside: database, commit."""
