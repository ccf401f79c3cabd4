"""Prompt files: CSV, JSON Lines or plain text in; checked and complete rows out."""

from producer.prompts.reader import Format, PreparedFile, read, read_row, read_rows
from shared.prompt_rows.columns import ColumnNameError, parse_columns
from shared.prompt_rows.faults import LineFault, PromptFileError
from shared.prompt_rows.preparer import PreparedRow
from shared.prompt_rows.rules import RowRules, Template, TemplateError

__all__ = [
    "ColumnNameError",
    "Format",
    "LineFault",
    "PreparedFile",
    "PreparedRow",
    "PromptFileError",
    "RowRules",
    "Template",
    "TemplateError",
    "parse_columns",
    "read",
    "read_row",
    "read_rows",
]
