"""PostEverywhere's envelope and errors: codes and statuses of its pages on errors and on image generation."""

from typing import Any

from ops.simulator.clock import iso
from ops.simulator.draws import digest
from ops.simulator.exchange import Exchange
from ops.simulator.replies import RefusalError, SimulatedReply

_MESSAGES: dict[str, tuple[int, str]] = {
    "validation_error": (400, "The request is invalid"),
    "invalid_json": (400, "The request body is not valid JSON"),
    "content_too_long": (400, "The text is too long"),
    "invalid_field_name": (400, "A field is not known"),
    "bad_request": (400, "The request is invalid"),
    "unauthorized": (401, "Missing or invalid API key"),
    "authentication_failed": (401, "The API key was revoked or lacks a scope"),
    "insufficient_credits": (402, "No active subscription"),
    "forbidden": (403, "The API key lacks the ai scope"),
    "not_found": (404, "Not found"),
    "conflict": (409, "The request conflicts with the state of the resource"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "permanent_failure_circuit_breaker": (422, "This request has failed for good too often; it is not tried again"),
    "rate_limit_exceeded": (429, "Rate limit exceeded"),
    "rate_limited": (429, "Rate limit exceeded"),
    "internal_error": (500, "Internal server error"),
    "service_unavailable": (503, "Service unavailable"),
}
_USUAL = {
    400: "validation_error",
    401: "unauthorized",
    404: "not_found",
    429: "rate_limit_exceeded",
    **{status: code for code, (status, _) in _MESSAGES.items() if status not in {400, 401, 404, 429}},
}
_TRANSIENT = (429, 500)


class Envelope:
    """Wraps data and errors as every answer does; ``retryable`` adds that field to errors.

    ``skew`` is how many real seconds the provider's clock is ahead of true time.
    """

    def __init__(self, *, retryable: bool, skew: float) -> None:
        self._retryable = retryable
        self._skew = skew

    def data(self, status: int, data: Any, exchange: Exchange) -> SimulatedReply:
        """Return ``{data, error: null, meta}``."""
        return SimulatedReply.json(status, {"data": data, "error": None, "meta": self._meta(exchange)})

    def error(
        self,
        code: str,
        exchange: Exchange,
        *,
        status: int = 0,
        message: str = "",
        details: dict[str, Any] | None = None,
    ) -> SimulatedReply:
        """Return ``{data: null, error, meta}`` for ``code``."""
        known_status, known_message = _MESSAGES.get(code, (status or 500, "Request failed"))
        status = status or known_status
        error: dict[str, Any] = {"message": message or known_message, "code": code}
        if self._retryable:
            error["retryable"] = status == _TRANSIENT[0] or status >= _TRANSIENT[1]
        if details:
            error["details"] = details
        return SimulatedReply.json(status, {"data": None, "error": error, "meta": self._meta(exchange)})

    def usual(self, status: int, code: str | None, exchange: Exchange) -> SimulatedReply:
        """Return the error that PostEverywhere would most likely send with ``status``."""
        return self.error(code or _USUAL.get(status, "internal_error"), exchange, status=status)

    def refuse(
        self, code: str, exchange: Exchange, *, message: str = "", details: dict[str, Any] | None = None
    ) -> RefusalError:
        """Return the exception that answers with ``code``."""
        return RefusalError(self.error(code, exchange, message=message, details=details))

    def _meta(self, exchange: Exchange) -> dict[str, str]:
        request = digest("request", exchange.id, exchange.path).hex()[:8]
        return {"request_id": request, "timestamp": iso(exchange.time + self._skew)}
