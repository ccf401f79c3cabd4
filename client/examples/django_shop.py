"""A shop in Django: a customer's order asks for an image, and a webhook tells of its end.

If genqueue's tables are in your own database, `producer.enqueue_in(connection, ...)` inside `transaction.atomic()`
makes the order of the image part of your transaction; this example keeps them apart.
"""

import os
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from genqueue_client import Client, ConflictError, RowsInvalidError, WebhookError, verify_webhook

pictures: dict[int, str] = {}
"""Order -> the state of its image; a real shop has a model."""


@cache
def genqueue() -> Client:
    """Return the client of this process; it may be used from several threads."""
    return Client(os.environ["GENQUEUE_URL"], os.environ.get("GENQUEUE_TOKEN"))


@require_POST
def order(request: HttpRequest, number: int) -> HttpResponse:
    """Order an image, after the order itself is committed. A repeated request orders one."""
    try:
        job = genqueue().submit(
            provider="bloom",
            prompt=request.POST["prompt"],
            batch="shop",
            custom_id=f"order-{number}",
            metadata={"order": number},
        )
    except RowsInvalidError as error:
        return JsonResponse({"errors": error.errors}, status=422)
    except ConflictError as error:  # this order's image was ordered already, with another prompt
        return JsonResponse({"errors": [str(error)]}, status=409)
    pictures.setdefault(number, job.state)
    return JsonResponse({"job": job.id, "state": job.state})


@csrf_exempt
@require_POST
def hook(request: HttpRequest) -> HttpResponse:
    """Take an event. It may come twice, so that what it does must not add up."""
    try:
        event = verify_webhook(request.body, request.headers, os.environ["GENQUEUE_WEBHOOK_SECRET"])
    except WebhookError as error:
        return HttpResponseBadRequest(str(error))
    if event.type.startswith("job."):
        pictures[event.data["metadata"]["order"]] = event.data["state"]
    return HttpResponse(status=204)


urlpatterns: list[Any] = [path("orders/<int:number>", order), path("hooks/genqueue", hook)]
