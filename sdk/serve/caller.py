"""Who calls: what every route asks first."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from sdk.errors import ServiceRefused
from sdk.serve.access import ANYONE, Tenant
from sdk.serve.service import Service

_bearer = HTTPBearer(auto_error=False, description="A key made with `imdl keys add`.")


def service_of(request: Request) -> Service:
    """The service that answers."""
    return cast(Service, request.app.state.service)


async def here(request: Request) -> Service:
    """The same, of a route: without the thread in which FastAPI runs what is not async."""
    return service_of(request)


async def who(request: Request) -> Tenant:
    """Whose key came with the request; 401 if nobody's."""
    return await submitter(request, await _bearer(request))


async def submitter(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Tenant:
    """The same, as FastAPI asks."""
    service = service_of(request)
    if service.settings.anyone:
        return ANYONE
    keys, key = service.keys, given.credentials if given else ""
    tenant = keys.seen(key) or (await run_in_threadpool(keys.tenant, key) if given else None)
    if tenant is None:
        raise ServiceRefused(
            "the request has no valid key", remedy="send Authorization: Bearer KEY, of imdl keys add NAME", status=401
        )
    request.state.tenant = tenant.name
    return tenant


async def reviewer(tenant: Annotated[Tenant, Depends(submitter)]) -> Tenant:
    """The same, if the key may review; 403 if not."""
    if tenant.role != "review":
        raise ServiceRefused("the key may not review", remedy="imdl keys add NAME --role review", status=403)
    return tenant


Here = Annotated[Service, Depends(here)]
Submitter = Annotated[Tenant, Depends(submitter)]
Reviewer = Annotated[Tenant, Depends(reviewer)]
