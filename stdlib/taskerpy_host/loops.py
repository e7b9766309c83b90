"""Coroutines on a lane: one event loop for each thread that runs handlers.

A loop of its own for every step would cost more than most steps, and clients
that handlers keep between steps would belong to a loop that is closed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_core._execution import awaited, has_running_loop, in_other_thread

# A loop that waits runs no Python, so that a handler's timeout could not reach
# it: it wakes up so often, in seconds.
_TICK = 0.1


class _ThreadLoop(threading.local):
    loop: asyncio.AbstractEventLoop | None = None


_thread = _ThreadLoop()


def run_to_end(awaitable: Awaitable[Any]) -> Any:
    """Returns what an awaitable gives; on a thread of its own if this one runs a loop."""
    if has_running_loop():
        return in_other_thread(lambda: asyncio.run(awaited(awaitable)))
    loop = _thread.loop
    if loop is None or loop.is_closed():
        loop = _thread.loop = asyncio.new_event_loop()
        _tick(loop)
    seen: list[object] = []
    try:
        return loop.run_until_complete(_followed(awaitable, seen.append))
    finally:
        # Tasks that the step left behind must not run into the next one, nor may
        # what the loop was about to stop for when something else broke it off.
        tasks = asyncio.all_tasks(loop)
        if tasks or not seen:
            _thread.loop = None
            _close(loop, tasks)


async def _followed(awaitable: Awaitable[Any], seen: Callable[[object], None]) -> Any:
    """Awaits; ``seen`` is called when the loop has seen the end of it."""
    task = asyncio.current_task()
    assert task is not None  # coroutines run in one
    task.add_done_callback(seen)
    return await awaitable


def _tick(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(_TICK, _tick, loop)


def _close(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> None:
    """Ends a loop as ``asyncio.run`` does."""
    try:
        for task in tasks:
            task.cancel()
        # What stops the loop comes now, and not while the tasks end.
        loop.call_soon(loop.stop)
        loop.run_forever()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
