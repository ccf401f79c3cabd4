"""OpenRouter's errors: statuses and typed codes of its page on errors and debugging."""

from typing import Any

from ops.simulator.replies import RefusalError, SimulatedReply

_USUAL: dict[int, tuple[str, str]] = {
    400: ("invalid_request", "Invalid request parameters"),
    401: ("authentication", "Missing or invalid API key"),
    402: ("payment_required", "Insufficient credits. Add more credits and try again"),
    403: ("permission_denied", "This key may not do that"),
    404: ("not_found", "Resource not found"),
    408: ("timeout", "The request timed out"),
    413: ("payload_too_large", "Request body too large"),
    422: ("unprocessable", "The request cannot be processed"),
    429: ("rate_limit_exceeded", "Rate limit exceeded"),
    500: ("server", "Internal Server Error"),
    502: ("provider_unavailable", "Generation failed or was aborted; it is not billed"),
    503: ("provider_overloaded", "No available model provider meets your routing requirements"),
    504: ("timeout", "The provider did not respond in time"),
    524: ("timeout", "Request timed out at the edge"),
    529: ("provider_overloaded", "Provider is temporarily overloaded"),
}
_WITH_AVAILABILITY = {404: False, 503: True}  # by status: whether trying again may help
_MASKED = 500


class OpenRouterErrors:
    """Words errors as documented.

    ``shape``: "code" has the status as ``error.code``, "typed" has ``error_type`` and ``http_status`` in its place.
    ``availability`` adds that object to 404 and 503.
    """

    def __init__(self, shape: str, *, availability: bool) -> None:
        self._shape = shape
        self._availability = availability

    def reply(
        self,
        status: int,
        error_type: str | None = None,
        message: str | None = None,
        metadata: dict[str, Any] | None = None,
        retry_seconds: float | None = None,
    ) -> SimulatedReply:
        """Return the error; a ``status`` of 0 is that of its type.

        ``retry_seconds`` says that a 404 or 503 is worth another try after that long.
        """
        status = status or _status_of(error_type)
        usual_type, usual_message = _USUAL.get(status, ("unmapped", "Provider returned error"))
        kind = error_type or usual_type
        error: dict[str, Any] = {"code": status, "message": message or usual_message}
        if self._shape == "typed":
            error = {"message": error["message"], "error_type": kind, "http_status": status}
        more = {"error_type": kind, **(metadata or {})}
        if status == _MASKED:
            more.pop("provider_code", None)
        if self._shape == "code" or metadata:
            error["metadata"] = more
        if self._availability and status in _WITH_AVAILABILITY:
            retryable = _WITH_AVAILABILITY[status] or retry_seconds is not None
            error["availability"] = {"code": kind, "retryable": retryable, "retry_after": retry_seconds}
        return SimulatedReply.json(status, {"error": error})

    def refuse(self, status: int, error_type: str | None = None, message: str | None = None) -> RefusalError:
        """Return the exception that answers with this error."""
        return RefusalError(self.reply(status, error_type, message))

    def invalid(self, message: str) -> RefusalError:
        """Return the exception for a parameter that is wrong; ``message`` names it."""
        return self.refuse(400, "invalid_request", message)

    def moderated(self, prompt: str, provider: str, model: str) -> RefusalError:
        """Return the 403 of a prompt that was flagged, with at most 100 characters of it."""
        flagged = prompt if len(prompt) <= 100 else f"{prompt[:48]}...{prompt[-48:]}"  # noqa: PLR2004 - documented limit
        metadata = {
            "reasons": ["simulated"],
            "flagged_input": flagged,
            "provider_name": provider,
            "model_slug": model,
        }
        message = "Your chosen model requires moderation and your input was flagged"
        return RefusalError(self.reply(403, "content_policy_violation", message, metadata))


def _status_of(error_type: str | None) -> int:
    return next((status for status, (kind, _) in _USUAL.items() if kind == error_type), 500)
