"""What handlers await, and the event loops of lanes (taskerpy_host.loops)."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from tasker_core import StepHandlerResult
from taskerpy_host import lane, loops

from tests.python.core.test_core_lane import run


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@pytest.fixture(autouse=True)
def _own_loop() -> Any:
    loops._thread.loop = None
    yield
    if loops._thread.loop is not None:
        loops._thread.loop.close()
        loops._thread.loop = None


def test_what_a_handler_awaits_is_its_result() -> None:
    assert run(lambda c: later({"a": 1}))[1]["result"] == {"a": 1}
    assert run(lambda c: later(StepHandlerResult.success({"a": 2})))[1]["result"] == {"a": 2}


def test_coroutines_of_a_thread_share_a_loop() -> None:
    async def which() -> Any:
        return {"loop": id(asyncio.get_running_loop())}

    assert run(lambda c: which())[1]["result"] == run(lambda c: which())[1]["result"]


def test_a_coroutine_that_fails_keeps_the_loop() -> None:
    async def fail() -> Any:
        raise RuntimeError("failed later")

    run(lambda c: later(None))
    loop = loops._thread.loop
    assert run(lambda c: fail())[1]["error"]["message"] == "failed later"
    assert loops._thread.loop is loop


def test_tasks_that_a_step_leaves_behind_end_with_it() -> None:
    cancelled: list[bool] = []
    kept: list[Any] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def start() -> Any:
        kept.append(asyncio.ensure_future(linger()))
        await asyncio.sleep(0)

    assert run(lambda c: start())[0] == lane.SUCCESS
    assert cancelled == [True]
    assert loops._thread.loop is None


@pytest.mark.parametrize(
    "leave", [lambda loop: loop.call_soon(sys.exit), lambda loop: loop.stop()], ids=["exit", "stop"]
)
def test_a_step_that_breaks_off_its_loop_does_not_stop_the_next(
    leave: Callable[[Any], Any],
) -> None:
    async def break_off() -> Any:
        leave(asyncio.get_running_loop())

    run(lambda c: break_off())
    assert run(lambda c: later({"a": 1}))[1]["result"] == {"a": 1}


def test_tasks_of_a_loop_that_was_broken_off_end_with_their_step() -> None:
    cancelled: list[bool] = []
    kept: list[Any] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.append(True)

    async def break_off() -> Any:
        kept.append(asyncio.ensure_future(linger()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(sys.exit)

    assert run(lambda c: break_off())[1]["error"]["error_type"] == "SystemExit"
    assert cancelled == [True]


def test_a_loop_that_a_handler_closed_is_not_used_again() -> None:
    run(lambda c: later(None))
    loop = loops._thread.loop
    assert loop is not None
    run(lambda c: loop.close())
    assert run(lambda c: later({"a": 1}))[1]["result"] == {"a": 1}


def test_a_waiting_loop_wakes_up_so_that_a_timeout_can_reach_it() -> None:
    async def ticks() -> int:
        loop = asyncio.get_running_loop()
        with mock.patch.object(loop, "call_later", wraps=loop.call_later) as call_later:
            while not call_later.called:
                await asyncio.sleep(0)
            return call_later.call_count

    assert loops.run_to_end(ticks()) == 1


def test_a_step_inside_a_running_loop_gets_a_thread_of_its_own() -> None:
    async def outer() -> Any:
        return run(lambda c: later({"a": 1}))[1]["result"]

    assert asyncio.run(outer()) == {"a": 1}


def test_exceptions_come_back_from_that_thread() -> None:
    async def fail() -> Any:
        raise RuntimeError("failed later")

    async def outer() -> Any:
        return run(lambda c: fail())[1]["error"]["message"]

    assert asyncio.run(outer()) == "failed later"
