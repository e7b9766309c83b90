"""What a handler is called with."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ConfigDict, Field

from tasker_core.types._dispatch import FfiStepEvent
from tasker_core.types._model import Model
from tasker_core.types._trusted import construct, has_text_keys, trusted_uuid

if TYPE_CHECKING:
    from tasker_core.models import TaskSequenceStepWrapper

_DEFAULT_MAX_RETRIES = 3


class StepContext(Model):
    """The task's input, the results of earlier steps and the step's settings.

    >>> from tasker_core.testing import step_context
    >>> context = step_context(
    ...     input_data={"amount": 3}, dependency_results={"price": {"cents": 5}}, retry_count=1
    ... )
    >>> context.get_input("amount"), context.get_dependency_field("price", "cents")
    (3, 5)
    >>> context.is_retry(), context.is_last_retry()
    (True, False)
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    event: FfiStepEvent
    task_uuid: UUID
    step_uuid: UUID
    correlation_id: UUID
    handler_name: str
    input_data: dict[str, Any] = Field(default_factory=dict)
    dependency_results: dict[str, Any] = Field(default_factory=dict)
    step_config: dict[str, Any] = Field(default_factory=dict)
    step_inputs: dict[str, Any] = Field(default_factory=dict)
    retry_count: int = 0
    max_retries: int = _DEFAULT_MAX_RETRIES

    @classmethod
    def from_ffi_event(cls, event: FfiStepEvent, handler_name: str) -> "StepContext":
        """Return the context of an event. Missing or null parts are empty.

        Raises:
            ValueError: an id is not a UUID, or a part of the payload is not
                what it should be (then a ``pydantic.ValidationError``).
        """
        task_uuid = UUID(event.task_uuid)
        step_uuid = UUID(event.step_uuid)
        correlation_id = UUID(event.correlation_id)
        parts = _parts(event.task_sequence_step)
        if cls is StepContext and type(handler_name) is str and _is_plain(parts):
            return _assemble(event, task_uuid, step_uuid, correlation_id, handler_name, parts)
        input_data, dependency_results, step_config, step_inputs, retry_count, max_retries = parts
        return cls(
            event=event,
            task_uuid=task_uuid,
            step_uuid=step_uuid,
            correlation_id=correlation_id,
            handler_name=handler_name,
            input_data=input_data,
            dependency_results=dependency_results,
            step_config=step_config,
            step_inputs=step_inputs,
            retry_count=retry_count,
            max_retries=max_retries,
        )

    @classmethod
    def _from_trusted_payload(
        cls,
        event_dict: dict[str, Any],
        task_sequence_step: dict[str, Any],
        handler_name: str,
    ) -> "StepContext":
        """Return the context of an event that the host itself has made.

        The ids are taken as they are. What a user can put into the payload
        (the task's context, inputs, settings) is still looked at, and goes
        through :meth:`from_ffi_event` unless it is plainly right.
        """
        event = FfiStepEvent._from_trusted_payload(event_dict, task_sequence_step)
        try:
            step = task_sequence_step["workflow_step"]
            input_data = task_sequence_step["task"]["task"]["context"]
            dependency_results = task_sequence_step["dependency_results"]
            step_config = task_sequence_step["step_definition"]["handler"]["initialization"]
            step_inputs = step["inputs"] or None
            retry_count = step["attempts"] or 0
            max_retries = step["max_attempts"] or _DEFAULT_MAX_RETRIES
        except (KeyError, TypeError):
            return cls.from_ffi_event(event, handler_name)
        if (
            cls is not StepContext
            or type(handler_name) is not str
            or not (input_data is None or type(input_data) is dict)
            or not (step_config is None or type(step_config) is dict)
            or not (step_inputs is None or type(step_inputs) is dict)
        ):
            return cls.from_ffi_event(event, handler_name)
        return construct(
            StepContext,
            {
                "event": event,
                "task_uuid": trusted_uuid(event_dict["task_uuid"]),
                "step_uuid": trusted_uuid(event_dict["step_uuid"]),
                "correlation_id": trusted_uuid(event_dict["correlation_id"]),
                "handler_name": handler_name,
                "input_data": {} if input_data is None else input_data.copy(),
                "dependency_results": dependency_results.copy(),
                "step_config": {} if step_config is None else step_config.copy(),
                "step_inputs": {} if step_inputs is None else step_inputs.copy(),
                "retry_count": retry_count,
                "max_retries": max_retries,
            },
            set(_CONTEXT_FIELDS),
        )

    def get_dependency_result(self, step_name: str) -> Any:
        """Return what the handler of ``step_name`` gave, or ``None``."""
        return _unwrap(self.dependency_results.get(step_name))

    def get_dependency_field(self, step_name: str, *path: str) -> Any:
        """Return a value inside the result of ``step_name``, or ``None``."""
        value = self.get_dependency_result(step_name)
        for key in path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def get_all_dependency_results(self, prefix: str) -> list[Any]:
        """Return the results of the steps whose names start with ``prefix``.

        Steps without a result are left out.
        """
        results = (
            self.get_dependency_result(name)
            for name in self.dependency_results
            if name.startswith(prefix)
        )
        return [result for result in results if result is not None]

    def get_dependency_result_keys(self) -> list[str]:
        """Return the names of the steps that have an entry."""
        return list(self.dependency_results)

    def get_input(self, key: str) -> Any:
        """Return a value of the task's input, or ``None``."""
        return self.input_data.get(key)

    def get_input_or(self, key: str, default: Any = None) -> Any:
        """Return a value of the task's input; ``default`` if missing or null."""
        value = self.input_data.get(key)
        return default if value is None else value

    def get_config(self, key: str) -> Any:
        """Return a setting of the step (``handler.initialization``), or ``None``."""
        return self.step_config.get(key)

    def is_retry(self) -> bool:
        """Return whether the step has been tried before."""
        return self.retry_count > 0

    def is_last_retry(self) -> bool:
        """Return whether no further attempt follows this one."""
        return self.retry_count >= self.max_retries - 1

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint that an earlier run of the step has stored."""
        workflow_step = self.event.task_sequence_step.get("workflow_step")
        if not isinstance(workflow_step, dict):
            return None
        checkpoint = workflow_step.get("checkpoint")
        return checkpoint if isinstance(checkpoint, dict) else None

    @property
    def checkpoint_cursor(self) -> Any:
        """Where to go on from, or ``None``."""
        return (self.checkpoint or {}).get("cursor")

    @property
    def checkpoint_items_processed(self) -> int:
        """How many items earlier runs have processed."""
        count: int = (self.checkpoint or {}).get("items_processed", 0)
        return count

    @property
    def accumulated_results(self) -> Any:
        """What earlier runs have gathered, or ``None``."""
        return (self.checkpoint or {}).get("accumulated_results")

    def has_checkpoint(self) -> bool:
        """Return whether there is a place to go on from (0 is one)."""
        return self.checkpoint_cursor is not None

    @property
    def task_sequence_step(self) -> "TaskSequenceStepWrapper":
        """The whole payload of the step behind typed names."""
        from tasker_core.models import TaskSequenceStepWrapper

        return TaskSequenceStepWrapper.from_dict(self.event.task_sequence_step)


# input_data, dependency_results, step_config, step_inputs, retry_count,
# max_retries: as found, not yet known to be of the right types.
_Parts = tuple[Any, Any, Any, Any, Any, Any]

_CONTEXT_FIELDS = frozenset(StepContext.model_fields)
_NOTHING: dict[str, Any] = {}


def _parts(payload: dict[str, Any]) -> _Parts:
    task = _section(payload, "task")
    inner_task = task if task.get("task") is None else _section(task, "task")
    workflow_step = _section(payload, "workflow_step")
    handler = _section(_section(payload, "step_definition"), "handler")
    input_data = inner_task.get("context")
    dependency_results = payload.get("dependency_results")
    step_config = handler.get("initialization")
    return (
        _NOTHING if input_data is None else input_data,
        _NOTHING if dependency_results is None else dependency_results,
        _NOTHING if step_config is None else step_config,
        workflow_step.get("inputs") or _NOTHING,
        workflow_step.get("attempts") or 0,
        workflow_step.get("max_attempts") or _DEFAULT_MAX_RETRIES,
    )


def _section(payload: dict[str, Any], name: str) -> dict[str, Any]:
    section = payload.get(name)
    if section is None:
        return _NOTHING
    if not isinstance(section, dict):
        raise ValueError(
            f"task_sequence_step: {name!r} is {type(section).__name__}, it must be an object"
        )
    return section


def _is_plain(parts: _Parts) -> bool:
    input_data, dependency_results, step_config, step_inputs, retry_count, max_retries = parts
    return (
        type(input_data) is dict
        and type(dependency_results) is dict
        and type(step_config) is dict
        and type(step_inputs) is dict
        and type(retry_count) is int
        and type(max_retries) is int
        and has_text_keys(input_data)
        and has_text_keys(dependency_results)
        and has_text_keys(step_config)
        and has_text_keys(step_inputs)
    )


def _assemble(
    event: FfiStepEvent,
    task_uuid: UUID,
    step_uuid: UUID,
    correlation_id: UUID,
    handler_name: str,
    parts: _Parts,
) -> StepContext:
    input_data, dependency_results, step_config, step_inputs, retry_count, max_retries = parts
    return construct(
        StepContext,
        {
            "event": event,
            "task_uuid": task_uuid,
            "step_uuid": step_uuid,
            "correlation_id": correlation_id,
            "handler_name": handler_name,
            "input_data": dict(input_data),
            "dependency_results": dict(dependency_results),
            "step_config": dict(step_config),
            "step_inputs": dict(step_inputs),
            "retry_count": retry_count,
            "max_retries": max_retries,
        },
        set(_CONTEXT_FIELDS),
    )


def _unwrap(value: Any) -> Any:
    """Return a stored step result's own value."""
    if isinstance(value, dict) and "result" in value:
        return value["result"]
    return value
