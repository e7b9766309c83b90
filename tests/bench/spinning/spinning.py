"""A step that never waits and never ends, for measuring what happens beside it."""

from tasker_core.step_handler import step_handler


@step_handler("spin")
def spin() -> None:
    while True:
        sum(range(1000))
