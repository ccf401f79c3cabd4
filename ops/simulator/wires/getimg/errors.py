"""getimg's errors. The statuses are documented, the body is not: this is the pair of its video failures."""

from ops.simulator.replies import SimulatedReply

_USUAL: dict[int, tuple[str, str]] = {
    400: ("invalid_request", "The request is invalid"),
    401: ("unauthorized", "Missing or invalid API key"),
    402: ("insufficient_balance", "Insufficient balance"),
    403: ("forbidden", "This account may not do that"),
    404: ("not_found", "Not found"),
    409: ("conflict", "The request conflicts with another one"),
    422: ("content_policy_violation", "The prompt or a reference image was refused by the safety system"),
    429: ("rate_limit_exceeded", "Too many requests"),
    503: ("service_unavailable", "Service unavailable"),
}


def error_reply(status: int, code: str | None = None, message: str | None = None) -> SimulatedReply:
    """Return ``{"error": {"code": ..., "message": ...}}`` with what is usual for ``status``."""
    usual_code, usual_message = _USUAL.get(status, ("internal_error", "Internal server error"))
    return SimulatedReply.json(status, {"error": {"code": code or usual_code, "message": message or usual_message}})
