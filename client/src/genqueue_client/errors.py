"""What can go wrong, with the API's own codes and words."""

from __future__ import annotations

from typing import Any


class GenqueueError(Exception):
    """The base of every error of this package."""


class UnreachableError(GenqueueError):
    """The API could not be reached, or broke off, on every try. The same request may be sent again."""


class NotEndedError(GenqueueError, TimeoutError):
    """A wait ran out; the job or batch goes on."""


class ApiError(GenqueueError):
    """An answer that is no success: `status`, the stable `code`, the words, and the `problem` document as it came."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", f"http_{status}"))
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.request_id = problem.get("request_id")
        super().__init__(f"{self.code}: {self.detail}")


class RowsInvalidError(ApiError):
    """Some rows are wrong, and nothing was enqueued; `errors` names line, field and fault."""

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The first hundred faults."""
        return list(self.problem.get("errors", ()))


class ConflictError(ApiError):
    """A custom_id stands for another request, or the job is not in a state for this."""


class NotFoundError(ApiError):
    """There is no such job, batch or image, or the token may not see it."""


class NotAllowedError(ApiError):
    """The token is missing, unknown, expired, or lacks a scope."""


class CapReachedError(ApiError):
    """The order does not fit under the token's cap; nothing was enqueued."""


class RateLimitedError(ApiError):
    """Too many requests, also after this client's own waits."""


class ServerError(ApiError):
    """The API or its database failed, also after this client's own tries. The same request may be sent again."""


_BY_CODE: dict[str, type[ApiError]] = {"rows_invalid": RowsInvalidError, "custom_id_conflict": ConflictError}
_BY_STATUS: dict[int, type[ApiError]] = {
    401: NotAllowedError,
    402: CapReachedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
}
_SERVER = 500


def api_error(status: int, problem: dict[str, Any]) -> ApiError:
    """Return the error that a problem document is."""
    usual = ServerError if status >= _SERVER else _BY_STATUS.get(status, ApiError)
    return _BY_CODE.get(str(problem.get("code")), usual)(status, problem)
