"""Seals: what a customer picks by its id."""
