"""Paid calls whose answer is lost: the provider's own list or usage figure is read and judged."""
