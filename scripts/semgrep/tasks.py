"""Examples for tasks.yml: `ruleid` marks what must be found, `ok` what must not."""

import asyncio
import contextlib


async def swallows(deposit, log):
    # ruleid: nothing-swallowed
    try:
        await deposit()
    except:
        log.warning("failed")
    # ruleid: nothing-swallowed, agents-swallow-nothing
    try:
        await deposit()
    except Exception:
        pass
    # ruleid: agents-swallow-nothing
    try:
        await deposit()
    except ValueError:
        pass
    # ruleid: nothing-swallowed
    with contextlib.suppress(OSError, Exception):
        await deposit()
    for _ in range(2):
        # ruleid: agents-swallow-nothing
        try:
            await deposit()
        except ValueError:
            continue


async def says(deposit, log):
    # ok: nothing-swallowed, agents-swallow-nothing
    try:
        await deposit()
    except Exception as problem:
        log.error("broken", problem=type(problem).__name__)
    # ok: nothing-swallowed, agents-swallow-nothing
    try:
        await deposit()
    except ValueError as problem:
        raise RuntimeError from problem
    # ok: nothing-swallowed
    with contextlib.suppress(FileNotFoundError):
        await deposit()


def agents(app, channel, sort):
    # ruleid: one-at-a-time
    app.agent(channel, concurrency=4)(sort)
    # ok: one-at-a-time
    app.agent(channel, concurrency=1)(sort)
    # ok: one-at-a-time
    app.agent(channel)(sort)


async def streams(stream):
    # ruleid: no-noack
    async for event in stream.noack().events():
        event.ack()
    # ruleid: one-at-a-time
    async for several in stream.take(10, within=5):
        del several
    # ok: no-noack
    async for event in stream.events():
        del event


async def lost(work):
    # ruleid: tasks-have-an-owner
    asyncio.create_task(work())
    # ruleid: tasks-have-an-owner
    asyncio.ensure_future(work())
    # ruleid: tasks-have-an-owner
    asyncio.get_running_loop().create_task(work())


async def owned(self, work):
    async with asyncio.TaskGroup() as tasks:
        # ok: tasks-have-an-owner
        tasks.create_task(work())
    # ok: tasks-have-an-owner
    self._tasks.create_task(work())
