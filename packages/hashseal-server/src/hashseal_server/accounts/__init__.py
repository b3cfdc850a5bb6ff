"""Accounts: organisations, their tokens, quota, orders and ledger."""
