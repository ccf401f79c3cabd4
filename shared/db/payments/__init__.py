"""Attempts to pay: intents, answers, caps, and the ledger that accounts for them."""
