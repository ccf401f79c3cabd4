"""Acme's wire: submit, then ask for one picture at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from shared.lifecycle import ImageState, Outcome
from worker.providers.asking import ask
from worker.providers.contract import (
    Accepted,
    AccountFacts,
    FindBy,
    PaidCall,
    Refused,
    RetryRule,
    UpstreamImage,
    WireSettings,
)
from worker.providers.reading import UnreadableError, check_id, link_of, member, read_json, text_of
from worker.providers.receipt import receipt
from worker.providers.refusals import NAMED, RefusalRule, unreadable

_NO = Outcome.REJECTED
_ERRORS: Final = (
    RefusalRule(400, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(401, None, "account_unauthorized", _NO, RetryRule.RESUME),
    RefusalRule(402, None, "account_out_of_credit", _NO, RetryRule.RESUME),
    RefusalRule(403, NAMED, "account_forbidden", _NO, RetryRule.RESUME),
    RefusalRule(422, NAMED, "provider_rejected", _NO, RetryRule.NEVER),
    RefusalRule(429, None, "rate_limited", _NO, RetryRule.AFTER),
)
_STATES: Final = {"pending": ImageState.PENDING, "success": ImageState.READY, "failed": ImageState.FAILED}


class Acme:
    poll_page: ClassVar[int] = 1
    submit_parcel: ClassVar[int] = 4
    find_by: ClassVar[FindBy] = "nothing"
    inline: ClassVar[bool] = False

    def __init__(self, settings: WireSettings) -> None:
        self._settings = settings
        self._headers = {"X-API-Key": settings.api_key.get_secret_value()}

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        url = f"{self._settings.base_url}/api/v1/generations"
        result = await self._settings.post.send(
            url, headers=self._headers, json=call.body, send_before=call.send_before
        )
        return receipt(result, _accepted, _ERRORS, key=self._settings.api_key)

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        (upstream_id,) = upstream_ids
        reply = await ask(self._settings, f"/api/v1/generations/{upstream_id}", _ERRORS, headers=self._headers)
        if isinstance(reply, Refused):
            return reply
        try:
            found = member(read_json(reply.body), "data")
            check_id(member(found, "id"), upstream_id)
            return {upstream_id: self._image(found, upstream_id)}
        except UnreadableError as error:
            return unreadable(reply, error)

    async def account(self) -> AccountFacts | Refused:
        return AccountFacts(None)

    def _image(self, data: Any, upstream_id: str) -> UpstreamImage:
        state = _STATES.get(member(data, "status"), ImageState.PROCESSING)
        if state is ImageState.FAILED:
            return UpstreamImage(state, upstream_id, error_code="generation_failed", error="Acme failed", sure=False)
        if state is not ImageState.READY:
            return UpstreamImage(state, upstream_id)
        return UpstreamImage(
            state, upstream_id, link=link_of(member(data, "outputImage", "storageUrl"), self._settings.base_url)
        )


def _accepted(status: int, answer: Any) -> Accepted:
    upstream_id = text_of(member(answer, "data", "id"))
    return Accepted(status, (UpstreamImage(ImageState.PENDING, upstream_id),), upstream_id=upstream_id)


WIRE: Final = Acme
