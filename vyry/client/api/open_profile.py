"""Opens the store of a profile for one process, and names the errors that end it."""

import asyncio

from vyry.client.api.profile_lock import acquire_profile_lock
from vyry.client.store.profile import Profile
from vyry.client.store.store import Store
from vyry.client.transport.waits import Waits


async def open_profile_store(profile: Profile, waits: Waits) -> Store:
    """Open the store of this profile once this process has its lock; a cancelled caller leaves no store open."""
    profile.check_transport()
    profile.check_exists()
    with profile.translated_errors():
        lock = await acquire_profile_lock(profile.store_path, waits)
    opening = asyncio.get_running_loop().run_in_executor(None, profile.open_store, lock)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        (await opening).close()
        raise


def flatten_errors(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in a group, without the groups around them."""
    found: list[BaseException] = []
    for each in group.exceptions:
        found += flatten_errors(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
