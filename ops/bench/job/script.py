"""A bare script without a queue: `python -m ops.bench.job.script JOBS PER_SECOND`; 0 a second is all at once."""

import asyncio
import sys
import time
from typing import Any, Final

import httpx
from httpx_aiohttp import AiohttpTransport

from ops.bench.job import rival

_AT_ONCE: Final = 32


async def _one(client: httpx.AsyncClient, s3: Any, job: str, at_once: asyncio.Semaphore) -> tuple[str, float]:
    async with at_once:
        answer = await client.post("/images/generations", json=rival.BODY)
    upstream = answer.json()["data"]["ids"][0]
    while True:
        await asyncio.sleep(1)
        found = (await client.get(f"/images/{upstream}")).json()["data"]
        if found["status"] == "completed":
            break
    async with at_once:
        body = (await client.get(found["imageUrl"])).content
        what = {"Bucket": "genqueue", "Key": rival.key_of(job), "Body": body, "ContentType": "image/png"}
        await asyncio.to_thread(lambda: s3.put_object(**what))
    return upstream, time.time()


async def main(jobs: int, per_second: float) -> None:
    """Run the jobs and print each upstream id with the time of its copy."""
    s3, at_once = rival.bucket(), asyncio.Semaphore(_AT_ONCE)
    async with (
        httpx.AsyncClient(
            base_url=rival.URL, follow_redirects=True, timeout=30, transport=AiohttpTransport()
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        began, tasks = time.monotonic(), []
        for number in range(jobs):
            if per_second:
                await asyncio.sleep(max(began + number / per_second - time.monotonic(), 0))
            tasks.append(group.create_task(_one(client, s3, f"script-{number}", at_once)))
        for task in tasks:
            upstream, at = await task
            sys.stdout.write(f"{upstream} {at}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
