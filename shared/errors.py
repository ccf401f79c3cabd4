"""Every code a job can end or wait with: what it means, what the queue does, what you can do.

The code is stored in the row, shown by `jobs`, `explain` and `results`, and stable between releases.

    ErrorCode
    |-- before anything was bought   provider_rejected, content_refused, ..., deadline_exceeded
    |-- waiting, nothing spent       rate_limited, account_paused, provider_unreachable, ...
    |-- may have been bought         answer_lost, answer_unreadable, provider_error
    |-- bought, but no image         generation_failed, content_refused_after_purchase, upstream_gone, ...
    `-- bought, image not copied     result_expired, result_invalid, result_too_large, partial_result, ...
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code, worded once for `explain` and the documentation."""

    code: str
    meaning: str
    queue_does: str
    you_can: str


_ENDS = "ends the job; nothing was bought"
_ENDS_BOUGHT = "ends the job; the money is recorded as spent"
_WAITS = "waits and tries again by itself; no attempt is spent"
_HOLDS = "holds the job; it is sent again by itself only if its batch says so and it is proved unbought"
_RETRY = "correct the row and enqueue it under a new custom_id"
_RETRY_PAID = "`genqueue retry JOB --buy-again` buys it anew"
COLLECT = "`genqueue retry JOB` collects it again, free, while provider or link still give it; else add `--buy-again`"
_RESOLVE = (
    "look at the provider's own history, then `genqueue resolve JOB --resend` or `genqueue resolve JOB --fail`, "
    "with `--charged AMOUNT` if it shows what the lost call cost"
)

_ALL: Final = (
    ErrorCode("provider_rejected", "the provider refused the request as invalid", _ENDS, _RETRY),
    ErrorCode("content_refused", "the provider's safety check refused the prompt", _ENDS, _RETRY),
    ErrorCode("not_entitled", "the account's plan does not include what the row asks for", _ENDS, _RETRY),
    ErrorCode("not_found", "the request names something the provider does not know", _ENDS, _RETRY),
    ErrorCode(
        "deadline_exceeded", "the job's deadline passed before anything was bought", _ENDS, "`genqueue retry JOB`"
    ),
    ErrorCode("rate_limited", "the provider asked for a slower pace", _WAITS, "nothing is needed"),
    ErrorCode("brand_not_ready", "the brand is still being prepared", _WAITS, "finish the brand's onboarding"),
    ErrorCode(
        "account_unauthorized",
        "the provider refused the API key",
        "pauses the account; its jobs wait, unspent",
        "correct the key, then `genqueue resume ACCOUNT`",
    ),
    ErrorCode(
        "account_out_of_credit",
        "the provider says the account cannot pay",
        "pauses the account; its jobs wait, unspent",
        "top up at the provider, then `genqueue resume ACCOUNT`",
    ),
    ErrorCode(
        "provider_failing",
        "paid call after paid call brought no readable answer",
        "pauses the account, so that no more jobs come into doubt; the others wait, unspent",
        "see how the provider is, then `genqueue resume ACCOUNT`",
    ),
    ErrorCode(
        "account_forbidden",
        "the provider does not let this account generate",
        "pauses the account; its jobs wait, unspent",
        "settle it with the provider, then `genqueue resume ACCOUNT`",
    ),
    ErrorCode(
        "account_address_wrong",
        "the provider's base URL leads nowhere: a redirect, or a path that nobody knows",
        "pauses the account; its jobs wait, unspent; the one that met it is held",
        "correct the account's base URL, `genqueue resume ACCOUNT`, then `genqueue resolve JOB --resend`",
    ),
    ErrorCode(
        "provider_unavailable",
        "refused for now: a model was unavailable or aborted; documented as not billed",
        "waits and tries again by itself; each try counts, and there is a last one",
        "nothing is needed; once it has failed, `genqueue retry JOB`, or choose another model",
    ),
    ErrorCode(
        "provider_unreachable",
        "no connection to the provider; no byte was sent",
        _WAITS,
        "see `genqueue doctor`",
    ),
    ErrorCode(
        "answer_lost",
        "the connection ended before the answer came; it may have been bought",
        _HOLDS,
        _RESOLVE,
    ),
    ErrorCode("answer_unreadable", "the answer could not be read; it may have been bought", _HOLDS, _RESOLVE),
    ErrorCode(
        "provider_error",
        "the provider failed while it held the request; it may have been bought",
        _HOLDS,
        _RESOLVE,
    ),
    ErrorCode("sender_lost", "the worker that was paying died; it may have been bought", _HOLDS, _RESOLVE),
    ErrorCode("generation_failed", "bought, but the provider could not make the image", _ENDS_BOUGHT, _RETRY_PAID),
    ErrorCode(
        "content_refused_after_purchase",
        "bought, then refused by the provider's safety check",
        _ENDS_BOUGHT,
        "change the prompt or the model and enqueue it under a new custom_id",
    ),
    ErrorCode(
        "not_delivered",
        "bought, but the provider gave fewer images than were asked for",
        _ENDS_BOUGHT,
        _RETRY_PAID,
    ),
    ErrorCode("upstream_gone", "bought, but the provider no longer knows the image", _ENDS_BOUGHT, _RETRY_PAID),
    ErrorCode(
        "never_finished",
        "bought, but not finished before the last bound for collecting",
        _ENDS_BOUGHT,
        COLLECT,
    ),
    ErrorCode(
        "result_expired",
        "bought, but the link died before the copy was made",
        _ENDS_BOUGHT,
        COLLECT,
    ),
    ErrorCode("result_invalid", "bought, but what the link gave is not an image", _ENDS_BOUGHT, COLLECT),
    ErrorCode(
        "result_incomplete",
        "bought, but the image was damaged on the way, each time",
        _ENDS_BOUGHT,
        COLLECT,
    ),
    ErrorCode("result_truncated", "bought, but the image arrived cut short, each time", _ENDS_BOUGHT, COLLECT),
    ErrorCode(
        "result_too_large",
        "bought, but larger than the cap",
        _ENDS_BOUGHT,
        "raise GENQUEUE_MAX_IMAGE_BYTES or GENQUEUE_MAX_IMAGE_PIXELS, then `genqueue retry JOB`",
    ),
    ErrorCode("result_timeout", "bought, but the download did not end in time, each time", _ENDS_BOUGHT, COLLECT),
    ErrorCode("result_unavailable", "bought, but the link could not be read, each time", _ENDS_BOUGHT, COLLECT),
    ErrorCode(
        "result_address_refused",
        "bought, but the link leads to a private address",
        _ENDS_BOUGHT,
        "if that is intended, set GENQUEUE_ALLOW_PRIVATE_URLS, then `genqueue retry JOB`",
    ),
    ErrorCode(
        "result_not_downloadable",
        "bought, but the provider gives no link to it; its id there is kept with the image",
        _ENDS_BOUGHT,
        "fetch it from the provider's own library",
    ),
    ErrorCode("storage_unavailable", "the bucket cannot be reached or fails", _WAITS, "see `genqueue doctor`"),
    ErrorCode("storage_damaged", "the bucket received other bytes than were sent", _WAITS, "check the network path"),
    ErrorCode(
        "storage_refused",
        "the bucket refuses our credentials or does not exist",
        _WAITS,
        "correct the S3 settings",
    ),
    ErrorCode(
        "storage_object_missing", "the bucket lost an object that it had taken", _WAITS, "look at the bucket's rules"
    ),
    ErrorCode("spool_unwritable", "the spool's directory cannot be written", _WAITS, "correct GENQUEUE_SPOOL_DIR"),
    ErrorCode(
        "spool_full",
        "the disk under the spool is full or cannot be written",
        _WAITS,
        "free space in GENQUEUE_SPOOL_DIR",
    ),
    ErrorCode(
        "partial_result",
        "some of the images bought are stored, others failed",
        "ends the job; keeps what is stored",
        COLLECT,
    ),
    ErrorCode(
        "price_unknown",
        "nobody has told what the model costs, so neither a reserve nor a cap can be kept",
        "takes the job out of the line, unspent",
        "set the account's `_PRICES`, or `_ALLOW_UNKNOWN_PRICE` where no cap is set, and restart the workers",
    ),
    ErrorCode(
        "batch_cap_reached",
        "the batch has spent, or set aside, what it may",
        "takes the job out of the line, unspent; it goes on by itself if money that was held comes back",
        "`genqueue cap BATCH PROVIDER=AMOUNT`",
    ),
    ErrorCode(
        "daily_cap_reached",
        "the account has spent, or set aside, what it may on one day (UTC)",
        "waits, unspent, for room or for midnight UTC",
        "raise the account's `_DAILY_CAP` and restart the workers",
    ),
    ErrorCode(
        "answer_found",
        "an answer that was lost came after all, or the provider's own list showed it",
        "collects what was bought; nothing is paid again",
        "nothing is needed",
    ),
    ErrorCode(
        "not_bought",
        "an answer was lost, and the provider shows that nothing was bought",
        "sends the job again, as its batch's `--on-unknown resend` says",
        "nothing is needed",
    ),
    ErrorCode(
        "cancel_requested",
        "somebody cancelled the job after its purchase had begun",
        "follows what is bought to its end, buys nothing more, and ends the job as cancelled",
        "nothing is needed",
    ),
    ErrorCode(
        "poison",
        "worker after worker died while it ran this job alone",
        "ends the job, or holds it where it may have been bought; what is bought for it stays recorded",
        "report it; if it is held, `genqueue resolve JOB --resend` or `genqueue resolve JOB --fail`, "
        "else `genqueue retry JOB`",
    ),
    ErrorCode(
        "written_off",
        "a person gave up a job in doubt",
        "ends the job; the money stays held unless `--charged` said what it cost",
        _RETRY_PAID,
    ),
)

CODES: Final[dict[str, ErrorCode]] = {entry.code: entry for entry in _ALL}
