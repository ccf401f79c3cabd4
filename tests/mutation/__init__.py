"""The checks' check: one safeguard at a time is taken out of a copy of the code, and a named test must turn red."""
