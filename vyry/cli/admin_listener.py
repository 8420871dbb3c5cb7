"""The operator's listener of a process, with what the operator's commands know: the page explains a mailbox as `vyry mailbox explain` does."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from vyry.cli.mailbox import explain_device
from vyry.composition.monitoring import serve_admin_listener
from vyry.composition.services import Services
from vyry.errors import CommandError
from vyry.operator.saturation import Queue
from vyry.settings.settings import Settings


def serve_operator_listener(
    settings: Settings, services: Services, sockets: Mapping[str, Queue] | None = None
) -> AbstractAsyncContextManager[int]:
    """Serve metrics, readiness and the page while the block lasts; yields the port. `sockets` are the queues of the web application."""

    async def explain(device: str) -> str:
        try:
            return await explain_device(device, settings)
        except CommandError as problem:
            return str(problem)

    return serve_admin_listener(settings, services, sockets, explain)
