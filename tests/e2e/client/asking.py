"""A step of the published package that uses its ``TaskerClient``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.client import TaskerClient

NOBODY = "01900000-0000-7000-8000-000000000000"
ENDED = ("complete", "error", "cancelled", "blocked_by_failures")


def plain(value: Any) -> Any:
    """Return the fields of the client's answers, which are data classes or models."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value


def error(call: Callable[[], Any]) -> str:
    """Return what the client raises."""
    try:
        return f"nothing raised: {call()!r}"
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"


class Ask(StepHandler):
    """Uses every method of the client."""

    handler_name = "ask_another_engine"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what each method gave."""
        client = TaskerClient(initiator="published", source_system="e2e")

        def create(number: int, **more: Any) -> Any:
            return client.create_task(
                "mathematical_sequence_py",
                namespace="linear_workflow_py",
                context={"even_number": number},
                **more,
            )

        seen: dict[str, Any] = {"health": plain(client.health_check())}
        made = create(6, reason="to see", priority=3, tags=["one", "two"])
        seen["created"] = plain(made)
        deadline = time.monotonic() + 60
        while client.get_task(made.task_uuid).status not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError("the task does not end")
            time.sleep(0.02)
        seen["ended"] = plain(client.get_task(made.task_uuid))
        steps = client.list_task_steps(made.task_uuid)
        seen["steps"] = plain(steps)
        seen["step"] = plain(client.get_step(made.task_uuid, steps[-1].step_uuid))
        seen["audit"] = plain(client.get_step_audit_history(made.task_uuid, steps[-1].step_uuid))

        waiting = client.create_task("waiting", namespace="client_test", context={})
        seen["cancelled"] = plain(client.cancel_task(waiting.task_uuid))
        seen["after_cancelling"] = plain(client.get_task(waiting.task_uuid))
        for number in (8, 10):
            create(number)
        seen["all"] = plain(client.list_tasks())
        seen["page"] = plain(client.list_tasks(limit=2, offset=2))
        seen["of_namespace"] = plain(client.list_tasks(namespace="client_test"))

        seen["errors"] = {
            "the same again": error(lambda: create(6)),
            "no template": error(lambda: client.create_task("nothing", namespace="client_test")),
            "no task": error(lambda: client.get_task(NOBODY)),
            "no step": error(lambda: client.get_step(made.task_uuid, NOBODY)),
            "cancel what has ended": error(lambda: client.cancel_task(made.task_uuid)),
        }
        return StepHandlerResult.success(seen)
