"""Images: a redirect to a link that reads the stored object for some minutes."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from producer.api.access import Caller, needs
from producer.api.problems import ProblemError
from shared.lifecycle import ImageState
from shared.tokens import Scope

router = APIRouter(tags=["results"])
_SECONDS: Final = 300


@router.get("/v1/images/{job_id}/{index}", status_code=303, response_class=Response)
def get_image(
    caller: Annotated[Caller, needs(Scope.RESULTS_READ)], job_id: UUID, index: Annotated[int, Path(ge=0, le=1000)]
) -> Response:
    """Redirect to the stored image; the link lives for five minutes. `index` counts from 0."""
    found = next((image for image in caller.job(job_id).images if image["index"] == index), None)
    if found is None or found["state"] != ImageState.STORED or found["key"] is None:
        raise ProblemError("no_such_image", "" if found is None else f"the image is {found['state']}")
    return RedirectResponse(caller.doors.link(found["key"], _SECONDS), 303)
