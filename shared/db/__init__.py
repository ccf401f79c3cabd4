"""All SQL: one function a question, each named for it; nobody else writes a statement."""
