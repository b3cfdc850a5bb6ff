"""`python -m hashseal_server.cli`."""

from hashseal_server.cli import main

main()
