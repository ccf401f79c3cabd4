"""The client for programs with an event loop: the same calls, awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from genqueue_client import calls
from genqueue_client.calls import Call, Progress, Reference, Rows
from genqueue_client.documents import Added, BatchFacts, BatchLine, JobFacts, JobLine, added, batch_line, job_line, page
from genqueue_client.tries import Patience, Tries


class AsyncJob(JobFacts):
    """A job, and what can be done with it. `wait` and `refresh` bring it up to date in place."""

    def __init__(self, client: AsyncClient, document: dict[str, Any]) -> None:
        super().__init__(document)
        self._client = client

    async def refresh(self) -> AsyncJob:
        """Ask for its state now."""
        self.document = await self._client.document(calls.job(self.id))
        return self

    async def wait(self, timeout: float = 600.0) -> AsyncJob:  # noqa: ASYNC109 - named as in Client
        """Wait until it has ended or is held, at most `timeout` seconds; raises `NotEndedError`."""
        patience = Patience(timeout)
        while not (self.ended or self.held):
            self.document = await self._client.document(calls.job(self.id, patience.left(self)))
        return self

    async def cancel(self) -> AsyncJob:
        """Cancel it: free if nothing is bought yet; else it is followed, and its images are kept."""
        await self._client.document(calls.cancel(self.id))
        return await self.refresh()


class AsyncBatch(BatchFacts):
    """A batch, and what can be done with it."""

    def __init__(self, client: AsyncClient, document: dict[str, Any]) -> None:
        super().__init__(document)
        self._client = client

    async def refresh(self) -> AsyncBatch:
        """Ask for its counts now."""
        self.document = await self._client.document(calls.batch(self.name))
        return self

    async def wait(self, timeout: float = 86_400.0) -> AsyncBatch:  # noqa: ASYNC109 - named as in Client
        """Wait until every job has ended or is held, at most `timeout` seconds; raises `NotEndedError`."""
        patience = Patience(timeout)
        while not self.settled:
            self.document = await self._client.document(calls.batch(self.name, patience.left(self)))
        return self

    async def cancel(self) -> AsyncBatch:
        """Cancel every job that has not ended."""
        await self._client.document(calls.cancel_batch(self.name))
        return await self.refresh()


class AsyncClient:
    """A connection to genqueue's HTTP API at `url`; `token` is none in a trial.

    A request waits `timeout` seconds for an answer, and is tried `tries` times: after a lost connection, a 429 or a
    5xx, with growing waits. `transport` replaces httpx's own. Use it as a context manager, or `close` it.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        tries: int = 6,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._tries = tries
        self._http = httpx.AsyncClient(
            base_url=url, headers=calls.authorization(token), timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self,
        *,
        provider: str,
        prompt: str,
        custom_id: str | None = None,
        batch: str | None = None,
        model: str | None = None,
        aspect_ratio: str | None = None,
        size: str | None = None,
        n: int | None = None,
        seed: int | None = None,
        output_format: str | None = None,
        references: Sequence[Reference] = (),
        options: Mapping[str, Any] | None = None,
        priority: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: float = 0.0,
    ) -> AsyncJob:
        """Order one job, and wait up to `wait` seconds for its end. The same `custom_id` again is the same job.

        Raises `RowsInvalidError`, `ConflictError`, `CapReachedError` and other `ApiError`s, and `UnreachableError`.
        """
        row = {name: value for name, value in locals().items() if name not in {"self", "references", "wait"}}
        return AsyncJob(self, await self.document(calls.submit(row, references, wait)))

    async def job(self, job_id: str) -> AsyncJob:
        """Return a job by its id; raises `NotFoundError`."""
        return AsyncJob(self, await self.document(calls.job(job_id)))

    async def read(self, job: AsyncJob, index: int = 0) -> bytes:
        """Return the bytes of an image; raises `NotFoundError` if it is not stored."""
        response = await self.send(calls.image(job.id, index), follow=True)
        calls.check(response)
        return response.content

    async def batch(self, name: str) -> AsyncBatch:
        """Return a batch; raises `NotFoundError`."""
        return AsyncBatch(self, await self.document(calls.batch(name)))

    async def batches(self) -> AsyncIterator[BatchLine]:
        """Yield every batch that the token may touch, oldest first."""
        async for item in self._items("/v1/batches"):
            yield batch_line(item)

    async def jobs(self, batch: str, *, state: str | None = None) -> AsyncIterator[JobLine]:
        """Yield the jobs of a batch, or those in one state, in the order they were added."""
        async for item in self._items("/v1/jobs", batch=batch, state=state):
            yield job_line(item)

    async def results(self, batch: str, *, links: bool = True) -> AsyncIterator[dict[str, Any]]:
        """Yield one row for each image of a batch; with `links`, each has a `url` that lives an hour.

        A stream that breaks off is resumed; no row comes twice.
        """
        found, tries = calls.Results(), Tries(self._tries)
        while True:
            call = calls.results(batch, found.after, links=links)
            seconds: float | None
            try:
                async with self._http.stream(call.method, call.path, params=call.params) as response:
                    if not response.is_success:
                        await response.aread()
                    seconds = tries.answered(response)
                    if seconds is None:
                        calls.check(response)
                        async for piece in response.aiter_bytes():
                            for row in found.take(piece):
                                yield row
                            tries.begin_anew()
                        for row in found.rest():
                            yield row
                        return
            except httpx.TransportError as error:
                found.broke()
                seconds = tries.lost(error)
            await asyncio.sleep(seconds)

    async def upload(
        self,
        batch: str,
        rows: str | os.PathLike[str] | bytes | Rows,
        *,
        provider: str | None = None,
        content_type: str | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Added:
        """Add a prompt file (its path or bytes), or rows, to a batch: all of them, or none.

        `columns` says which column of the file is one of genqueue's, such as `{"aspect_ratio": "Bildformat"}`.
        `progress(sent, total)` is called with bytes as they go. Raises as `submit`.
        """
        prepared = calls.upload(batch, rows, provider=provider, content_type=content_type, columns=columns)
        return added(calls.read(await self.send(prepared.call, body=lambda: _awaited(prepared.pieces(progress)))))

    async def document(self, call: Call) -> dict[str, Any]:
        """Send a request and return its answer's document; raises `ApiError` and `UnreachableError`."""
        return calls.read(await self.send(call))

    async def send(
        self, call: Call, *, follow: bool = False, body: Callable[[], AsyncIterator[bytes]] | None = None
    ) -> httpx.Response:
        """Send a request until an answer is final or the tries are used up; raises `UnreachableError`."""
        tries = Tries(self._tries)
        while True:
            seconds: float | None
            try:
                response = await self._http.request(
                    **calls.arguments(call, body() if body else None, self._timeout, follow=follow)
                )
                seconds = tries.answered(response)
                if seconds is None:
                    return response
            except httpx.TransportError as error:
                seconds = tries.lost(error)
            await asyncio.sleep(seconds)

    async def _items(self, path: str, **filters: str | None) -> AsyncIterator[dict[str, Any]]:
        cursor = None
        while True:
            found = page(await self.document(calls.listing(path, cursor, **filters)))
            for item in found.items:
                yield item
            if found.next_cursor is None:
                return
            cursor = found.next_cursor


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
