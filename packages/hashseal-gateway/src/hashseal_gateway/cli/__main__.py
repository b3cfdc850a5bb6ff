"""`python -m hashseal_gateway.cli`."""

from hashseal_gateway.cli import main

main()
