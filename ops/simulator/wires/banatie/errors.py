"""Banatie's errors: codes and statuses of its API reference."""

from ops.simulator.replies import RefusalError, SimulatedReply

_MESSAGES: dict[str, tuple[int, str]] = {
    "VALIDATION_ERROR": (400, "Invalid parameters"),
    "UNAUTHORIZED": (401, "Missing or invalid API key"),
    "PAYMENT_REQUIRED": (402, "Payment required"),
    "FORBIDDEN": (403, "This endpoint needs a project key"),
    "NOT_FOUND": (404, "Not found"),
    "GENERATION_NOT_FOUND": (404, "Generation not found"),
    "IMAGE_NOT_FOUND": (404, "Image not found"),
    "ALIAS_CONFLICT": (409, "Alias already exists"),
    "RATE_LIMIT_EXCEEDED": (429, "Too many requests"),
    "GENERATION_FAILED": (500, "AI generation failed"),
    "INTERNAL_ERROR": (500, "Server error"),
}
_USUAL = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    402: "PAYMENT_REQUIRED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "ALIAS_CONFLICT",
    429: "RATE_LIMIT_EXCEEDED",
}


def error_reply(code: str, message: str = "", status: int = 0) -> SimulatedReply:
    """Return ``{success: false, error: {message, code}}``."""
    known_status, known_message = _MESSAGES.get(code, (status, "Request failed"))
    error = {"message": message or known_message, "code": code}
    return SimulatedReply.json(status or known_status, {"success": False, "error": error})


def usual_reply(status: int, code: str | None) -> SimulatedReply:
    """Return the error that Banatie would most likely send with ``status``."""
    return error_reply(code or _USUAL.get(status, "INTERNAL_ERROR"), status=status)


def refuse(code: str, message: str = "") -> RefusalError:
    """Return the exception that answers with ``code``."""
    return RefusalError(error_reply(code, message))
