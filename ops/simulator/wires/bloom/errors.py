"""Bloom's errors, with the codes, statuses and default messages of its OpenAPI document."""

from typing import Any

from ops.simulator.replies import RefusalError, SimulatedReply

_MESSAGES: dict[str, tuple[int, str]] = {
    "SESSION_MISSING_BRAND_IMAGE": (400, "Brand session is not fully onboarded"),
    "REFERENCE_LIMIT_EXCEEDED": (400, "Too many reference images"),
    "UNAUTHORIZED": (401, "Invalid or missing API credentials"),
    "INSUFFICIENT_CREDITS": (402, "Not enough credits to generate"),
    "PAYMENT_REQUIRED": (402, "Subscription paused — complete payment to resume"),
    "FORBIDDEN": (403, "Plan upgrade required"),
    "FEATURE_NOT_ENTITLED": (403, "4K generation requires Plus or Pro plan"),
    "REFERENCE_IMAGE_NOT_FOUND": (404, "Reference image not found"),
    "IMAGE_NOT_FOUND": (404, "Image not found"),
    "WORKSPACE_NOT_FOUND": (404, "Workspace not found or not accessible"),
    "BRAND_NOT_READY": (409, "Brand session is not ready"),
    "BRAND_NOT_FOUND": (422, "Brand session not found"),
    "TOO_MANY_REQUESTS": (429, "Rate limit exceeded"),
}
# Sent with defined=false: the document allows them without listing them.
_UNLISTED: dict[str, tuple[int, str]] = {
    "BAD_REQUEST": (400, "Input validation failed"),
    "ACCOUNT_BANNED": (403, "This account has been suspended"),
    "NOT_FOUND": (404, "Not found"),
    "INTERNAL_SERVER_ERROR": (500, "Internal server error"),
    "BAD_GATEWAY": (502, "Bad gateway"),
    "SERVICE_UNAVAILABLE": (503, "Service unavailable"),
    "GATEWAY_TIMEOUT": (504, "Gateway timeout"),
}
_USUAL = {401: "UNAUTHORIZED", 402: "INSUFFICIENT_CREDITS", 403: "FORBIDDEN", 429: "TOO_MANY_REQUESTS"}


class BloomErrors:
    """Words errors in one of the two published envelopes: "flat" (OpenAPI) or "nested" (guides)."""

    def __init__(self, envelope: str) -> None:
        self._envelope = envelope

    def reply(
        self, code: str, *, status: int = 0, message: str = "", data: Any = None, base_url: str = ""
    ) -> SimulatedReply:
        """Return the error ``code``; both 402s carry ``data.action_url``."""
        defined = code in _MESSAGES
        known_status, known_message = _MESSAGES.get(code) or _UNLISTED.get(code) or (status or 500, "Request failed")
        status = status or known_status
        error: dict[str, Any] = {
            "defined": defined,
            "code": code,
            "status": status,
            "message": message or known_message,
        }
        if status == 402:  # noqa: PLR2004 - the HTTP status, as in the tables above
            data = {"action_url": f"{base_url}/bloom/pricing"}
        if data is not None:
            error["data"] = data
        if self._envelope == "nested":
            error.pop("defined")
            return SimulatedReply.json(status, {"error": error})
        return SimulatedReply.json(status, error)

    def usual(self, status: int, code: str | None, base_url: str) -> SimulatedReply:
        """Return the error that Bloom would most likely send with ``status``."""
        unlisted = {number: name for name, (number, _) in _UNLISTED.items()}
        chosen = code or _USUAL.get(status) or unlisted.get(status, "INTERNAL_SERVER_ERROR")
        return self.reply(chosen, status=status, base_url=base_url)

    def refuse(self, code: str, base_url: str = "") -> RefusalError:
        """Return the exception that answers with ``code``."""
        return RefusalError(self.reply(code, base_url=base_url))

    def invalid(self, field: str, problem: str) -> RefusalError:
        """Return the exception for a parameter that fails validation."""
        return RefusalError(self.reply("BAD_REQUEST", data={"issues": [{"path": [field], "message": problem}]}))
