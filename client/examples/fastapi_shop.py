"""A shop in FastAPI: a customer's order asks for an image, and a webhook tells of its end."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from genqueue_client import AsyncClient, ConflictError, RowsInvalidError, WebhookError, verify_webhook

pictures: dict[int, str] = {}
"""Order -> the state of its image; a real shop has a table."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for the whole life of the service."""
    async with AsyncClient(os.environ["GENQUEUE_URL"], os.environ.get("GENQUEUE_TOKEN")) as client:
        app.state.genqueue = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{number}")
async def order(number: int, prompt: str) -> dict[str, Any]:
    """Order an image. A customer who clicks twice, or a request that is repeated, orders one."""
    try:
        job = await app.state.genqueue.submit(
            provider="bloom", prompt=prompt, batch="shop", custom_id=f"order-{number}", metadata={"order": number}
        )
    except RowsInvalidError as error:
        raise HTTPException(422, error.errors) from None
    except ConflictError as error:  # this order's image was ordered already, with another prompt
        raise HTTPException(409, str(error)) from None
    pictures.setdefault(number, job.state)
    return {"job": job.id, "state": job.state}


@app.post("/hooks/genqueue", status_code=204)
async def hook(request: Request) -> None:
    """Take an event. It may come twice, so that what it does must not add up."""
    try:
        event = verify_webhook(await request.body(), request.headers, os.environ["GENQUEUE_WEBHOOK_SECRET"])
    except WebhookError as error:
        raise HTTPException(400, str(error)) from None
    if event.type.startswith("job."):
        pictures[event.data["metadata"]["order"]] = event.data["state"]
