"""The account's seals, with the names and defaults that the company gives them."""
