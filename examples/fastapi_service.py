"""A FastAPI service whose requests share one client. When its upstream fails, the caller gets problem details.

Start it with ``USERS_URL=https://... uvicorn fastapi_service:app``. Run as a script, it demonstrates itself locally.
Needs: ``pip install 'resilient-client[examples]'``, which adds FastAPI, uvicorn and httpx.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from resilient_client import APIClient, APIError, APITimeoutError, CallRejectedError, NotFoundError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with APIClient(os.environ.get("USERS_URL", "http://127.0.0.1:9000"), timeout=1) as app.state.users:
        yield  # all requests share the client's connections, circuits and budgets


def users_client(request: Request) -> APIClient:
    return request.app.state.users  # type: ignore[no-any-return]  # the state is untyped


app = FastAPI(lifespan=lifespan)


@app.get("/hello/{number}")
async def hello(number: int, users: Annotated[APIClient, Depends(users_client)]) -> str:
    try:
        user = await users.get("/users/{id}", path_params={"id": number}, response_model=dict[str, str])
    except NotFoundError:  # only this route knows what a 404 means
        raise HTTPException(404, "no such user") from None
    return f"Hello {user['name']}!"


@app.exception_handler(APIError)
async def problem(_request: Request, error: APIError) -> JSONResponse:
    """Report the failure (RFC 9457) and when to retry, but not the address of the upstream."""
    wait = error.retry_after
    unavailable = wait is not None or isinstance(error, CallRejectedError)
    status = 504 if isinstance(error, APITimeoutError) else 503 if unavailable else 502
    details = {"status": status, "title": "an upstream failed", "kind": error.kind, "attempts": error.attempts}
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    return JSONResponse(details, status, headers, media_type="application/problem+json")


async def main() -> None:
    import httpx  # needed only for this demonstration, as is the misbehaving server

    from resilient_client.testing import FaultServer
    from resilient_client.testing.faults import hang_before_headers, reply

    ok, busy = reply(json={"name": "Ada"}), reply(503, headers={"Retry-After": "30"})
    async with FaultServer() as upstream:
        upstream.script(ok, reply(404), busy, *[reply(500)] * 3, hang_before_headers())
        os.environ["USERS_URL"] = upstream.url
        service = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")
        async with lifespan(app), service:
            for number in range(1, 6):
                answer = await service.get(f"/hello/{number}")
                print(answer.status_code, answer.text)


if __name__ == "__main__":
    asyncio.run(main())
