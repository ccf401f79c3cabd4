"""Queries of people and pages; nothing here writes."""
