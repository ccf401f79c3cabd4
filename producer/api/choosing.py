"""A person compares the candidates of a lost call, and names those that it bought; the job collects them, free."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from producer.api.access import Caller, needs
from producer.api.actions import charged_of
from producer.api.bodies import StrictRoute
from producer.api.dry_run import DoneShown
from producer.api.shown import answer
from shared.tokens import Scope

router = APIRouter(tags=["deciding"], route_class=StrictRoute)
_MOST_PICTURES = 100


class ChooseBody(BaseModel):
    """Which pictures a job's lost call bought: ids of `candidates` in the job's story."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pictures: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        min_length=1, max_length=_MOST_PICTURES, description="ids at the provider, as the job's story lists them"
    )
    charged: str | None = Field(
        None, max_length=40, description="what the provider's history shows, such as 0.035; leave out for its price"
    )


@router.post("/v1/jobs/{job_id}:choose", responses={200: {"model": DoneShown}})
def choose(caller: Annotated[Caller, needs(Scope.OPS)], job_id: UUID, body: Annotated[ChooseBody, Body()]) -> Response:
    """Say which pictures a held job's lost call bought: it collects them, and pays nothing.

    Its story lists them as `candidates`. No other lost call can take a picture that was chosen.
    """
    caller.job(job_id)
    state = caller.client.choose(job_id, body.pictures, charged=charged_of(body.charged))
    return answer(DoneShown(done={state: 1}, changed_meanwhile=0))
