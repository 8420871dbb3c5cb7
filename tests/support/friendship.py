"""Makes accounts friends: only friends can be added to a group without an invitation."""

from itertools import combinations

from tests.support.rest_device import Device
from vyry.client.api.client import Client


async def befriend(*clients: Client) -> None:
    """Each of them with each other."""
    for one, other in combinations(clients, 2):
        await one.friends.request(other.user_id)
        await other.friends.accept(one.user_id)


async def befriend_devices(*devices: Device) -> None:
    """Each of these accounts with each other."""
    for one, other in combinations(devices, 2):
        await one.call("POST", "/friends/requests", {"userId": other.user_id})
        await other.call("POST", f"/friends/requests/{one.user_id}/accept")
