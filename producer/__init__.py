"""Producers: the SDK, the command line and prompt files; they need the database and nothing else."""

from producer.client import Client, InvalidRowsError, NoSuchBatchError, NoSuchJobError

__all__ = ["Client", "InvalidRowsError", "NoSuchBatchError", "NoSuchJobError"]
