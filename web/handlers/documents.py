"""What the node says about itself: OpenAPI, AsyncAPI and the docs page, made once when the app is built."""

from aiohttp import web

from web.app_keys import DOCUMENTS


async def openapi(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    return _document(request, "openapi")


async def asyncapi(request: web.Request) -> web.Response:
    """GET /asyncapi.json."""
    return _document(request, "asyncapi")


async def docs(request: web.Request) -> web.Response:
    """GET /docs: the only answer with a policy of its own, for its own style and script."""
    return _document(request, "docs")


def _document(request: web.Request, name: str) -> web.Response:
    document = request.app[DOCUMENTS][name]
    headers = {"Content-Security-Policy": document.policy} if document.policy else None
    return web.Response(body=document.body, content_type=document.media_type, charset="utf-8", headers=headers)
