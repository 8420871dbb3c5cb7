"""The general budget: every request with a token costs by what it answers, so that no route can be asked without end."""

from aiohttp import web

from vyry.accounts.account import Caller
from vyry.limits import REQUESTS, Grant, Quota
from web.app_keys import CALLER, GRANTS, SERVICES, Route


async def run_charged(request: web.Request, route: Route) -> web.StreamResponse:
    """The answer of the route's handler, charged to the caller. Raises RateLimited before anything is done when the budget is used up.

    A costly route takes an estimate first: however many of it are asked at once, no more run than the budget has.
    """
    if route.auth != "token" or not route.cost:
        return await route.handler(request)
    quota, buckets = route.shared_quota, request.app[SERVICES].buckets
    subject = _subject(request[CALLER], quota)
    # A setting may make the whole bucket smaller than the estimate.
    estimate = min(route.cost, buckets.peek(quota, subject).limit)
    buckets.consume(subject, (quota, estimate))
    mine = request[GRANTS] = _remaining_grants(request, quota, subject)
    answer = await route.handler(request)
    cost = response_cost(answer, route)
    if cost != estimate:
        buckets.charge(subject, quota, cost - estimate)
        if request[GRANTS] is mine:
            request[GRANTS] = _remaining_grants(request, quota, subject)
    return answer


def response_cost(answer: web.StreamResponse, route: Route) -> int:
    """What this answer of the route costs. What goes out in pieces has places of its own, and costs as a plain request."""
    body = answer.body if isinstance(answer, web.Response) else None
    length = len(body) if isinstance(body, bytes) else 0
    return 1 + length // route.bytes_per_cost


def _remaining_grants(request: web.Request, quota: Quota, subject: str) -> list[tuple[str, Grant]]:
    return [(quota.name, request.app[SERVICES].buckets.peek(quota, subject))]


def _subject(caller: Caller, quota: Quota) -> str:
    return str(caller.user_id if quota.name == REQUESTS.name else caller.device)
