"""Why an image was not finished when the collection deadline passed, by the last look at it."""

from typing import Final

from shared.images import ImageChange
from worker.providers.contract import Refused, UpstreamImage

NO_LINK: Final = "result_not_downloadable"
_CODE: Final = "never_finished"
_TOO_LATE: Final = "the provider did not finish it before the collection deadline"
_UNSEEN: Final = "the collection deadline passed, and the provider could not be asked for it then"
_NO_LINK: Final = "the provider calls it finished, but gave no link to it before the collection deadline"


def why(change: ImageChange, look: UpstreamImage | None, refusal: Refused | None) -> tuple[str, str]:
    """Return the code and the words for an image that stays as `change` says. `look` is None if it brought nothing.

    `refusal` is why some images could not be asked for.
    """
    if look is not None and look.lacks_link:
        return NO_LINK, _NO_LINK
    if look is not None and look.unknown_word is not None:
        return _CODE, f"{_TOO_LATE}; its last word for the state is unknown here: {look.unknown_word or 'none'}"
    if change.error_code:
        return _CODE, f"{_TOO_LATE}; {change.error_code}: {change.error}"
    if look is None and refusal is not None:
        return _CODE, f"{_UNSEEN}; {refusal.code}: {refusal.message}"
    return _CODE, _UNSEEN if look is None else _TOO_LATE
