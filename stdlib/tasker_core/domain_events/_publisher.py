"""Publishers: what turns a step's result into an event, or holds it back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

from tasker_core import domain_events
from tasker_core._failures import is_failure, line_of
from tasker_core.domain_events._models import StepEventContext

__all__ = ["BasePublisher", "DefaultPublisher"]

Delivery = Callable[[str, dict[str, Any], dict[str, Any]], None]
"""Takes an event's name, payload and metadata; raises if it cannot take them."""

# Where publish() hands events on. The worker sets it while it publishes what
# a template declares; a handler that calls publish() itself reaches nobody.
_delivery: ContextVar[Delivery | None] = ContextVar("tasker_domain_event_delivery", default=None)
# Where publish() notes what it does not raise, for the same worker.
_errors: ContextVar[list[BaseException] | None] = ContextVar(
    "tasker_domain_event_errors", default=None
)
# Whether the event is out already while on_publish_error() is called.
_is_out: ContextVar[bool] = ContextVar("tasker_domain_event_is_out", default=False)


class BasePublisher(ABC):
    """Shapes the events of the steps that name it in their template.

    >>> class AmountPublisher(BasePublisher):
    ...     publisher_name = "amounts"
    ...
    ...     def transform_payload(self, ctx):
    ...         return {"amount": ctx.result["amount"]}
    >>> ctx = StepEventContext(
    ...     task_uuid="t", step_uuid="s", step_name="pay", namespace="shop",
    ...     correlation_id="c", result={"amount": 5, "card": "4111"},
    ... )
    >>> AmountPublisher().transform_payload(ctx)
    {'amount': 5}

    For declared events a worker calls the hooks on a thread of its own choice,
    once the step's result is there; what they do does not change it.
    """

    @property
    @abstractmethod
    def publisher_name(self) -> str:
        """The name that templates use; a plain class attribute will do."""

    def should_publish(self, ctx: StepEventContext) -> bool:
        """Return whether there is something to publish."""
        return True

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return the event's payload."""
        return ctx.result or {}

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return what the event's metadata should hold besides the usual."""
        return {}

    def before_publish(
        self, event_name: str, payload: dict[str, Any], metadata: dict[str, Any]
    ) -> bool:
        """Return whether to go on; the last chance to hold the event back."""
        domain_events.log_debug(f"{type(self).__name__}: publishing {event_name}")
        return True

    def after_publish(
        self, event_name: str, payload: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Do what is to be done once the event is published."""
        domain_events.log_debug(f"{type(self).__name__}: published {event_name}")

    def on_publish_error(self, event_name: str, error: Exception, payload: dict[str, Any]) -> None:
        """Do what is to be done when publishing, or a hook after it, failed."""
        domain_events.log_error(f"{failure_text(self, event_name)}: {line_of(error)}")

    def publish(self, ctx: StepEventContext, event_name: str | None = None) -> bool:
        """Call the hooks in order and return whether the event went through.

        The event is called ``event_name``, or as the step if that is not
        given. Delivery is up to the worker, for the events that a template
        declares: called from a handler this calls the hooks and no more.

        What ``should_publish``, ``transform_payload`` and
        ``additional_metadata`` raise reaches the caller; what the later hooks
        raise goes to :meth:`on_publish_error`: exceptions, and when the worker
        publishes, exits and cancellations too.
        """
        name = event_name or ctx.step_name
        if not self.should_publish(ctx):
            domain_events.log_debug(f"{type(self).__name__}: nothing to publish for {name}")
            return False
        payload = self.transform_payload(ctx)
        metadata = _event_metadata(self, ctx)
        deliver = _delivery.get()
        is_out = False
        try:
            if not self.before_publish(name, payload, metadata):
                domain_events.log_debug(f"{type(self).__name__}: before_publish held {name} back")
                return False
            if deliver is not None:
                deliver(name, payload, metadata)
            is_out = True
            self.after_publish(name, payload, metadata)
        except BaseException as exc:
            # From a handler that calls this, an interrupt must get out.
            if not isinstance(exc, Exception) and (deliver is None or not is_failure(exc)):
                raise
            errors = _errors.get()
            if errors is not None:
                errors.append(exc)
            with telling(is_out):
                report(self, name, exc, payload)
            return False
        return True


# No method: publishers may have one of any name, and it would be called instead.
def _event_metadata(publisher: BasePublisher, ctx: StepEventContext) -> dict[str, Any]:
    return {
        "publisher": publisher.publisher_name,
        "published_at": datetime.now(timezone.utc).isoformat(),
        "task_uuid": ctx.task_uuid,
        "step_uuid": ctx.step_uuid,
        "step_name": ctx.step_name,
        "namespace": ctx.namespace,
        "correlation_id": ctx.correlation_id,
        **ctx.metadata,
        **publisher.additional_metadata(ctx),
    }


class DefaultPublisher(BasePublisher):
    """Publishes a step's result as it is.

    >>> DefaultPublisher().publisher_name
    'default'
    """

    publisher_name = "default"


@contextmanager
def delivering(deliver: Delivery) -> Iterator[list[BaseException]]:
    """Hand what is published inside the block to ``deliver``.

    The list receives the errors that ``publish()`` keeps to itself.
    """
    errors: list[BaseException] = []
    tokens = _delivery.set(deliver), _errors.set(errors)
    try:
        yield errors
    finally:
        _delivery.reset(tokens[0])
        _errors.reset(tokens[1])


@contextmanager
def telling(is_out: bool) -> Iterator[None]:
    """Let texts about errors inside the block say whether the event is out."""
    token = _is_out.set(is_out)
    try:
        yield
    finally:
        _is_out.reset(token)


def report(
    publisher: BasePublisher, event_name: str, error: BaseException, payload: dict[str, Any]
) -> None:
    """Tell a publisher of an error; of an exit too, which its signature does not promise."""
    publisher.on_publish_error(event_name, error, payload)  # type: ignore[arg-type]


def failure_text(publisher: BasePublisher, event_name: str) -> str:
    """Return the start of a line about an error of a publisher."""
    if _is_out.get():
        what = f"after_publish of {event_name} failed, the event is published"
    else:
        what = f"{event_name} was not published"
    return f"{type(publisher).__name__}: {what}"
