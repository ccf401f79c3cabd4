"""What every rival is told by its environment, and what it writes down: one row of a table for each job."""

import os
from typing import Any, Final

import boto3
import psycopg
from botocore.config import Config

URL: Final = os.environ.get("BENCH_URL", "")
BROKER: Final = os.environ.get("BENCH_BROKER", "")
DATABASE: Final = os.environ.get("BENCH_DATABASE", "")
TABLE: Final = """
CREATE TABLE IF NOT EXISTS bench_job (
  id text PRIMARY KEY, state text NOT NULL, upstream_id text, key text, stored_at double precision)
"""
INSERT: Final = "INSERT INTO bench_job (id, state) VALUES (%s, 'queued') ON CONFLICT DO NOTHING"
PENDING: Final = "UPDATE bench_job SET state = 'pending', upstream_id = %s WHERE id = %s"
STORED: Final = (
    "UPDATE bench_job SET state = 'stored', key = %s, stored_at = extract(epoch FROM clock_timestamp()) WHERE id = %s"
)
BODY: Final = {"prompt": "a harbour", "brandSessionId": "00000000-0000-0000-0000-000000000000"}


def bucket() -> Any:
    """Return an S3 client for this process."""
    return boto3.client(
        "s3",
        endpoint_url=os.environ["GENQUEUE_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        config=Config(max_pool_connections=32, s3={"addressing_style": "path"}),
    )


def database() -> "psycopg.Connection[Any]":
    """Return an autocommit connection for this thread."""
    return psycopg.connect(DATABASE, autocommit=True)


def key_of(job: str) -> str:
    """Return where a job's image lies."""
    return f"bench/{job}.png"
