"""Send requests over HTTP, with retries under the same idempotency key."""

from __future__ import annotations

import asyncio
import time
from typing import Self, TypeVar

import httpx2

from hashseal.client.wire import Reply, Request, Workflow
from hashseal_core.errors import ServiceUnreachable

ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0
MAX_PAUSE_SECONDS = 30.0
_RETRIED = frozenset({429, 503})
_Result = TypeVar("_Result")


def pause(attempt: int, asked: float | None = None) -> float:
    """Seconds to wait before the next attempt: what the service asked for, within reason."""
    return min(asked, MAX_PAUSE_SECONDS) if asked is not None else 0.2 * 2.0**attempt


def _reply(answer: httpx2.Response) -> Reply:
    asked = answer.headers.get("retry-after", "")
    return Reply(answer.status_code, answer.content, float(asked) if asked.isdigit() else None)


def _headers(request: Request, token: str) -> dict[str, str]:
    return {**request.headers, "Authorization": f"Bearer {token}", "Accept": "application/json"}


def _unreachable(error: httpx2.HTTPError) -> ServiceUnreachable:
    """What is said to the caller: whether nobody is there, or somebody is too slow."""
    if isinstance(error, httpx2.TimeoutException):
        return ServiceUnreachable("the signing service does not answer in time")
    if isinstance(error, httpx2.ConnectError):
        return ServiceUnreachable("the signing service cannot be reached")
    return ServiceUnreachable("the signing service breaks off its answer")


class Client:
    """Synchronous client; `transport` replaces the network, as the sandbox does."""

    def __init__(
        self, url: str, token: str, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._token = token
        self._http = httpx2.Client(base_url=url, timeout=TIMEOUT_SECONDS, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, request: Request) -> Reply:
        """One request, repeated while the service is away for a moment.

        Raises:
            ServiceUnreachable: no answer at all.
        """
        for attempt in range(ATTEMPTS):
            last, asked = attempt == ATTEMPTS - 1, None
            try:
                answer = self._http.request(
                    request.method,
                    request.path,
                    content=request.body,
                    headers=_headers(request, self._token),
                )
            except httpx2.HTTPError as error:
                if last:
                    raise _unreachable(error) from error
            else:
                reply = _reply(answer)
                if last or reply.status not in _RETRIED:
                    return reply
                asked = reply.retry_after
            time.sleep(pause(attempt, asked))
        raise ServiceUnreachable("the signing service does not answer")

    def run(self, workflow: Workflow[_Result]) -> _Result:
        """Drive a workflow: send what it asks for, hand back what came."""
        try:
            request = next(workflow)
            while True:
                request = workflow.send(self.send(request))
        except StopIteration as stop:
            result: _Result = stop.value
            return result
        finally:
            workflow.close()  # what it has begun is cleaned up now, not when the error is forgotten


class AsyncClient:
    """Asynchronous client; the same workflows, the same retries (`attempts` in all)."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        attempts: int = ATTEMPTS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._token = token
        self._attempts = attempts
        self._http = httpx2.AsyncClient(base_url=url, timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, request: Request) -> Reply:
        """One request, repeated while the service is away for a moment.

        Raises:
            ServiceUnreachable: no answer at all.
        """
        for attempt in range(self._attempts):
            last, asked = attempt == self._attempts - 1, None
            try:
                answer = await self._http.request(
                    request.method,
                    request.path,
                    content=request.body,
                    headers=_headers(request, self._token),
                )
            except httpx2.HTTPError as error:
                if last:
                    raise _unreachable(error) from error
            else:
                reply = _reply(answer)
                if last or reply.status not in _RETRIED:
                    return reply
                asked = reply.retry_after
            await asyncio.sleep(pause(attempt, asked))
        raise ServiceUnreachable("the signing service does not answer")

    async def run(self, workflow: Workflow[_Result]) -> _Result:
        """Drive a workflow; its file work runs in a thread."""
        try:
            step = await asyncio.to_thread(_advance, workflow, None)
            while isinstance(step, Request):
                step = await asyncio.to_thread(_advance, workflow, await self.send(step))
            return step
        finally:
            workflow.close()


def _advance(workflow: Workflow[_Result], reply: Reply | None) -> Request | _Result:
    try:
        return next(workflow) if reply is None else workflow.send(reply)
    except StopIteration as stop:
        result: _Result = stop.value
        return result
