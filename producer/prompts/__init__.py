"""Prompt files: CSV, JSON Lines or plain text in; checked and complete rows out."""

from producer.prompts.reader import Format, PreparedFile, read, read_row, read_rows
from shared.prompt_rows.faults import LineFault, PromptFileError
from shared.prompt_rows.preparer import PreparedRow
from shared.prompt_rows.rules import RowRules, Template, TemplateError

__all__ = [
    "Format",
    "LineFault",
    "PreparedFile",
    "PreparedRow",
    "PromptFileError",
    "RowRules",
    "Template",
    "TemplateError",
    "read",
    "read_row",
    "read_rows",
]
