"""A gate before a real bucket, at the socket: open, busy, full or slow, as an S3 service would be."""

from tests.support.tcp_proxy import TcpProxy


class S3Gate(TcpProxy):
    """Passes requests on to the bucket's server unless told otherwise; signatures pass unchanged."""

    def refuse(self) -> None:
        """Answer each request that the service is too busy."""
        self.refusal = _answer(503, "SlowDown", "Please reduce your request rate.")

    def fill(self) -> None:
        """Answer each request that the disk is full."""
        self.refusal = _answer(507, "InsufficientStorage", "There is no space left.")

    def slow(self, seconds: float) -> None:
        """Hold each piece of a request back for so long."""
        self.delay_seconds = seconds

    def open(self) -> None:
        """Be a bucket that works."""
        self.refusal = b""
        self.delay_seconds = 0.0


def _answer(status: int, code: str, message: str) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()
