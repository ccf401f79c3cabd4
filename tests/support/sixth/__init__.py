"""A made-up sixth provider, added by one catalog file and one wire file; its API is the simulator's Banatie."""
