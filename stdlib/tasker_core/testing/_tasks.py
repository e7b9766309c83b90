"""Run a whole task in memory, with the rules of orchestration for standard steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tasker_core.handler import HandlerRegistry, StepHandler
from tasker_core.testing._events import step_event
from tasker_core.testing._steps import StepRun, register, run_event
from tasker_core.testing._templates import TemplateStep, infer_template, read_template

State = Literal["pending", "waiting_for_retry", "complete", "error"]
Status = Literal["complete", "blocked_by_failures"]

# A step that yields checkpoints without getting on would run for ever.
_MAX_CHECKPOINTS = 10_000


@dataclass
class TaskStep:
    """One step of a task that was run."""

    name: str
    state: State = "pending"
    runs: list[StepRun] = field(default_factory=list)
    """Every execution of its handler; yields of checkpoints count too."""
    attempts: int = 0
    """How often it was tried; yields of checkpoints do not count."""

    @property
    def result(self) -> Any:
        """What the step's handler returned; ``None`` unless the step is complete."""
        return self.runs[-1].result if self.runs else None

    @property
    def error_message(self) -> str | None:
        """Why its last attempt failed, if it did."""
        return self.runs[-1].error_message if self.runs else None

    @property
    def error_type(self) -> str | None:
        """Why its last attempt failed, in a word."""
        return self.runs[-1].error_type if self.runs else None


@dataclass
class TaskRun:
    """What a task gave."""

    status: Status
    steps: dict[str, TaskStep]

    @property
    def is_complete(self) -> bool:
        """Whether every step did its work."""
        return self.status == "complete"

    @property
    def results(self) -> dict[str, Any]:
        """The results of the complete steps by their names."""
        return {name: step.result for name, step in self.steps.items() if step.state == "complete"}

    def assert_complete(self) -> dict[str, Any]:
        """Return the results; fail the test, saying what failed, if steps are missing."""
        __tracebackhide__ = True
        if not self.is_complete:
            lines = [f"the task should be complete, it is {self.status}"]
            for step in self.steps.values():
                said = f": {step.runs[-1].describe()}" if step.state == "error" else ""
                lines.append(f"{step.name} {step.state} after {step.attempts} attempts{said}")
            raise AssertionError("\n".join(lines))
        return self.results


def run_task(
    template: str | Path | Mapping[str, Any] | None = None,
    *,
    input_data: Any = None,
    handlers: Iterable[Any] | ModuleType | None = None,
) -> TaskRun:
    """Run all steps of a task, in this thread, and return what they gave.

    Steps run when those they depend on are complete. A step that fails
    retryably is tried again as often as its template allows, without the
    waits in between. Once a step has failed for good no further ones are
    started, as in a deployment.

    Args:
        template: The path of a template, or its content. If not given it is
            inferred from decorated functions: each is a step, which depends
            on what ``@depends_on`` says.
        input_data: The task's input.
        handlers: Handler classes, decorated functions, handlers, or modules
            that hold them; those of ``HandlerRegistry.instance()`` if not given.

    Raises:
        ValueError: the template cannot be run here. Decisions and batches
            need an engine: ``taskerpy run`` has one.

    >>> from tasker_core import RetryableError
    >>> from tasker_core.step_handler import step_handler
    >>> @step_handler("shaky")
    ... def shaky(context):
    ...     if not context.is_last_retry():
    ...         raise RetryableError("not yet")
    ...     return {"tries": context.retry_count + 1}
    >>> task = run_task(handlers=[shaky])
    >>> task.steps["shaky"].attempts, task.steps["shaky"].result
    (3, {'tries': 3})
    """
    registry = HandlerRegistry.instance() if handlers is None else _registry_of(handlers)
    if template is not None:
        steps = read_template(template)
    else:
        steps = infer_template(registry._handlers[name] for name in registry.list_handlers())
    task = TaskRun("complete", {step.name: TaskStep(step.name) for step in steps})
    _run_all(steps, task, registry, input_data)
    if any(step.state != "complete" for step in task.steps.values()):
        task.status = "blocked_by_failures"
    return task


def _registry_of(handlers: Iterable[Any] | ModuleType) -> HandlerRegistry:
    registry = HandlerRegistry()
    items: Iterable[Any] = [handlers] if isinstance(handlers, ModuleType) else handlers
    for item in items:
        if isinstance(item, ModuleType):
            registry._scan_module_for_handlers(item, StepHandler)
        else:
            register(registry, item)
    return registry


def _run_all(
    steps: list[TemplateStep], task: TaskRun, registry: HandlerRegistry, input_data: Any
) -> None:
    """Run every step that becomes ready; those that are ready together, together."""
    while True:
        ready = [step for step in steps if _is_ready(step, task)]
        if not ready or any(step.state == "error" for step in task.steps.values()):
            return
        for step in ready:
            _attempt(step, task, registry, input_data)


def _is_ready(step: TemplateStep, task: TaskRun) -> bool:
    return task.steps[step.name].state in ("pending", "waiting_for_retry") and all(
        task.steps[name].state == "complete" for name in step.dependencies
    )


def _attempt(step: TemplateStep, task: TaskRun, registry: HandlerRegistry, input_data: Any) -> None:
    record = task.steps[step.name]
    run = None
    # A checkpoint of an earlier attempt is there for the next one too.
    checkpoint = next((r.checkpoint for r in reversed(record.runs) if r.checkpoint), None)
    for _ in range(_MAX_CHECKPOINTS):
        run = run_event(
            step_event(
                step.name,
                handler=step.handler["callable"],
                method=step.handler.get("method"),
                resolver=step.handler.get("resolver"),
                input_data=input_data,
                dependency_results={
                    name: task.steps[name].result
                    for name in step.ancestors
                    if task.steps[name].runs
                },
                step_config=step.initialization,
                step_inputs=step.initialization or None,
                retry_count=record.attempts,
                max_retries=step.max_attempts,
                checkpoint=checkpoint,
            ),
            registry,
        )
        record.runs.append(run)
        checkpoint = run.checkpoint
        if checkpoint is None:
            break
    else:
        raise ValueError(f"step {step.name!r} yielded {_MAX_CHECKPOINTS} checkpoints without end")
    record.attempts += 1
    if run.is_success:
        record.state = "complete"
    elif run.retryable and step.retryable and record.attempts < step.max_attempts:
        record.state = "waiting_for_retry"
    else:
        record.state = "error"
