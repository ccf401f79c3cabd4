"""Prompt files: CSV, JSON Lines or plain text in; checked and complete rows out."""

from producer.prompts.faults import LineFault, PromptFileError
from producer.prompts.reader import Format, PreparedFile, read, read_rows
from producer.prompts.spool import PreparedRow

__all__ = ["Format", "LineFault", "PreparedFile", "PreparedRow", "PromptFileError", "read", "read_rows"]
