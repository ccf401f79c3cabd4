"""The addresses and credentials a process needs to join a stack."""

import re
from dataclasses import dataclass

PASSWORD_IN_URL = re.compile(r"(?<=:)[^:/@]+(?=@)")


@dataclass(frozen=True, repr=False)
class Endpoints:
    """Where the services of one home listen: 127.0.0.1, and a Unix socket for Redis. Its repr hides every secret.

    `database_url` is the role of workers and commands, `owner_url` that of the tables' owner, who migrates; neither is
    a superuser, as `admin_url` is, which only the supervisor needs.
    """

    database_url: str
    owner_url: str
    admin_url: str
    broker_url: str
    s3_endpoint_url: str
    s3_bucket: str
    s3_access_key: str
    s3_secret_key: str
    webhook_key: str

    def environment(self) -> dict[str, str]:
        """Return the variables that make a process of ours use this stack."""
        return {
            "GENQUEUE_DATABASE_URL": self.database_url,
            "GENQUEUE_BROKER_URL": self.broker_url,
            "GENQUEUE_S3_ENDPOINT_URL": self.s3_endpoint_url,
            "GENQUEUE_S3_BUCKET": self.s3_bucket,
            "GENQUEUE_S3_REGION": "us-east-1",
            "GENQUEUE_WEBHOOK_KEY": self.webhook_key,
            "AWS_ACCESS_KEY_ID": self.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3_secret_key,
            # Without this botocore asks a cloud's metadata address for credentials and waits for its timeout.
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def __repr__(self) -> str:
        database, broker = (PASSWORD_IN_URL.sub("***", url) for url in (self.database_url, self.broker_url))
        return (
            f"Endpoints(database_url={database!r}, broker_url={broker!r}, "
            f"s3_endpoint_url={self.s3_endpoint_url!r}, s3_bucket={self.s3_bucket!r})"
        )
