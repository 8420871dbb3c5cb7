"""The general budget: every request with a token costs by what it answers, so that no route can be asked without end."""

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.limits import REQUESTS, Grant, Quota
from web.keys import CALLER, GRANTS, SERVICES, Route


async def paid(request: web.Request, route: Route) -> web.StreamResponse:
    """The answer of the route's handler, charged to the caller. Raises RateLimited before anything is done when the budget is used up.

    A costly route takes an estimate first: however many of it are asked at once, no more run than the budget has.
    """
    if route.auth != "token" or not route.cost:
        return await route.handler(request)
    quota, buckets = route.budget, request.app[SERVICES].buckets
    subject = _subject(request[CALLER], quota)
    # A setting may make the whole bucket smaller than the estimate.
    estimate = min(route.cost, buckets.peek(quota, subject).limit)
    buckets.take(subject, (quota, estimate))
    mine = request[GRANTS] = _left(request, quota, subject)
    answer = await route.handler(request)
    cost = cost_of(answer, route)
    if cost != estimate:
        buckets.charge(subject, quota, cost - estimate)
        if request[GRANTS] is mine:
            request[GRANTS] = _left(request, quota, subject)
    return answer


def cost_of(answer: web.StreamResponse, route: Route) -> int:
    """What this answer of the route costs. What goes out in pieces has places of its own, and costs as a plain request."""
    body = answer.body if isinstance(answer, web.Response) else None
    length = len(body) if isinstance(body, bytes) else 0
    return 1 + length // route.unit_bytes


def _left(request: web.Request, quota: Quota, subject: str) -> list[tuple[str, Grant]]:
    return [(quota.name, request.app[SERVICES].buckets.peek(quota, subject))]


def _subject(caller: Caller, quota: Quota) -> str:
    return str(caller.user_id if quota.name == REQUESTS.name else caller.device)
