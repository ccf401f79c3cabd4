"""Columns as SQLModel fields, by what they hold."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Numeric, Text
from sqlmodel import Field


def account_column() -> Any:
    """Return a column that holds the name of an account."""
    return Field(sa_column=Column(Text, ForeignKey("account.name"), nullable=False))


def text_column(*, nullable: bool = False, primary_key: bool = False) -> Any:
    """Return a column that holds a text."""
    return Field(sa_column=Column(Text, nullable=nullable, primary_key=primary_key))


def time_column(*, nullable: bool = False) -> Any:
    """Return a column that holds a moment with its zone."""
    return Field(sa_column=Column(DateTime(timezone=True), nullable=nullable))


def numeric_column(*, nullable: bool = False) -> Any:
    """Return a column that holds an exact amount."""
    return Field(sa_column=Column(Numeric, nullable=nullable))


def identity_column() -> Any:
    """Return a column that holds the number of an append-only row."""
    return Field(sa_column=Column(BigInteger, primary_key=True))
