"""Paid calls whose answer is lost, and what their providers show of them."""
