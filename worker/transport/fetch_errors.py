"""Why a result could not be fetched, as errors of ours.

    TransferError (worker.transport.spool)                                            code                    again?
    |-- FetchError                the link did not give the whole result
    |   |-- LinkExpired           401, 403, 404 or 410                      result_expired          yes
    |   |-- Truncated             the body ended early                      result_truncated        yes
    |   |-- FetchTimeout          the wall-clock limit passed               result_timeout          yes
    |   |-- TooSlow               less than the least speed                result_too_slow         yes
    |   |-- ResultUnavailable     5xx, 429, no connection                   result_unavailable      yes
    |   |   |-- RedirectLoop      more redirects than allowed               result_unavailable      yes
    |   |   `-- UnexpectedReply   another status, encoding or redirect      result_unavailable      yes
    |   `-- Misdirected           worker.transport.address_guard          result_misdirected      yes
    |-- AddressRefused            worker.transport.address_guard          result_address_refused  no
    |   |-- LinkUnusable          worker.transport.address_guard          result_link_unusable    no
    |   `-- Misdirected           both a FetchError and an AddressRefused
    |-- TooLarge                  more bytes than the cap                   result_too_large        no
    `-- SpoolError, SpoolFull     worker.transport.spool                              spool_full              yes

"Again" (`retryable`) means that another try may help and costs nothing. The caller decides whether to retry an expired
link, and how often. Messages contain only hosts and numbers, because links are signed.
"""

# ruff: noqa: N818 - an error is named for what happened to the result

from worker.transport.spool import TransferError


class FetchError(TransferError):
    """The link did not give the whole result; `status` is the HTTP status if one was received."""

    code = "result_unavailable"
    retryable = True

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class LinkExpired(FetchError):
    """The server no longer honours the link (401, 403, 404 or 410)."""

    code = "result_expired"


class Truncated(FetchError):
    """The connection ended before the whole body arrived; `sha256` is the hash of what did arrive."""

    code = "result_truncated"

    def __init__(self, message: str, *, sha256: bytes | None = None) -> None:
        super().__init__(message)
        self.sha256 = sha256


class FetchTimeout(FetchError):
    """The download did not end within its wall-clock limit, redirects included."""

    code = "result_timeout"


class TooSlow(FetchError):
    """The server sends more slowly than is worth a slot that others wait for."""

    code = "result_too_slow"


class ResultUnavailable(FetchError):
    """The server could not be reached or asked to come back, after `retry_after` seconds if it said when."""


class RedirectLoop(ResultUnavailable):
    """The link was redirected more often than allowed."""


class UnexpectedReply(ResultUnavailable):
    """The server's reply is neither the result nor a refusal this client knows."""
