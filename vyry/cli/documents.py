"""`vyry openapi` and `vyry asyncapi`: the documents of the API, on standard output."""

import json
from collections.abc import Mapping

from web import asyncapi as socket_document
from web import openapi as rest_document
from web.routes import ROUTES
from web.wire.frames import FRAMES


def openapi() -> int:
    """Print the OpenAPI 3.1 document of the REST API.

    The node serves it at /openapi.json.
    """
    return _print_json(rest_document.build_openapi(ROUTES))


def asyncapi() -> int:
    """Print the AsyncAPI 3.0 document of the WebSocket frames.

    The node serves it at /asyncapi.json.
    """
    return _print_json(socket_document.build_asyncapi(FRAMES))


def _print_json(document: Mapping[str, object]) -> int:
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
