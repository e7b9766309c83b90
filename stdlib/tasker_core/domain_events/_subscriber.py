"""Subscribers: code that handles the domain events of this process."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from tasker_core import domain_events
from tasker_core._failures import is_failure, line_of, message_of
from tasker_core.types import InProcessDomainEvent

if TYPE_CHECKING:
    from tasker_core.domain_events._poller import InProcessDomainEventPoller

__all__ = ["BaseSubscriber"]


class BaseSubscriber(ABC):
    """Handles the events whose names fit its patterns.

    >>> class Ledger(BaseSubscriber):
    ...     @classmethod
    ...     def subscribes_to(cls):
    ...         return ["payment.*", "refund.*"]
    ...
    ...     def handle(self, event):
    ...         print(event["event_name"], self.business_payload(event)["amount"])
    >>> ledger = Ledger()
    >>> ledger.matches("payment.processed"), ledger.matches("order.created")
    (True, False)
    >>> ledger.active
    False

    ``*`` stands for any text, dots included, ``?`` for one character,
    ``[abc]`` for one of these. An event that fits several patterns is handled
    once. The methods may be called from any thread; events are handled on the
    thread of the poller, one after the other.
    """

    # These are the class's, and not made by the constructor, because programs
    # have subscribers whose constructors do not call this one. Starting and
    # stopping are short: one lock for all of them will do.
    __life_lock: ClassVar[threading.RLock] = threading.RLock()
    # Set anew by each start: callbacks of an earlier one do nothing.
    __run: object = None
    __unsubscribe: tuple[Callable[[], None], ...] = ()
    _active = False
    _subscriptions: list[str]

    def __init__(self) -> None:
        self._active = False
        self._subscriptions = []

    @classmethod
    @abstractmethod
    def subscribes_to(cls) -> list[str]:
        """Return the patterns of the event names to handle."""

    @abstractmethod
    def handle(self, event: dict[str, Any]) -> None:
        """Handle one event: ``model_dump()`` of an ``InProcessDomainEvent``."""

    @property
    def active(self) -> bool:
        """Whether events are handled."""
        return self._active

    @property
    def subscriptions(self) -> list[str]:
        """The patterns that events are handled for at the moment."""
        return list(getattr(self, "_subscriptions", ()))

    def before_handle(self, event: dict[str, Any]) -> bool:
        """Return whether to handle the event."""
        return True

    def after_handle(self, event: dict[str, Any]) -> None:  # noqa: B027 - a hook, not a duty
        """Do what is to be done once the event is handled."""

    def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
        """Do what is to be done when handling an event failed."""
        name = event.get("event_name", "unknown")
        domain_events.log_error(
            f"{type(self).__name__}: Failed to handle event {name}: {message_of(error)}"
        )

    def matches(self, event_name: str) -> bool:
        """Return whether one of the patterns fits the name."""
        return any(fnmatchcase(event_name, pattern) for pattern in self.subscribes_to())

    def start(self, poller: "InProcessDomainEventPoller") -> None:
        """Handle what ``poller`` delivers from now on. Starting twice is fine."""
        with self.__life_lock:
            if self._active:
                return
            patterns = list(self.subscribes_to())
            self._active, self.__run, self._subscriptions = True, object(), []
            try:
                for index, pattern in enumerate(patterns):
                    self.__subscribe(poller, pattern, patterns[:index])
            except BaseException:
                self.stop()
                raise
        domain_events.log_debug(f"{type(self).__name__}: handles {', '.join(patterns)}")

    def stop(self) -> None:
        """Handle no more events. Stopping what was not started is fine."""
        with self.__life_lock:
            if not self._active:
                return
            self._active, self.__run, self._subscriptions = False, None, []
            unsubscribe, self.__unsubscribe = self.__unsubscribe, ()
        for remove in unsubscribe:
            remove()
        domain_events.log_debug(f"{type(self).__name__}: stopped")

    def handle_event_safely(self, event: dict[str, Any]) -> None:
        """Handle one event, if active; errors go to :meth:`on_handle_error`."""
        if not self._active:
            return
        try:
            if not self.before_handle(event):
                return
            self.handle(event)
            self.after_handle(event)
        except Exception as exc:
            self.__report(event, exc)

    @staticmethod
    def business_payload(event: dict[str, Any]) -> dict[str, Any]:
        """Return what the publisher gave, out of the envelope it comes in.

        >>> BaseSubscriber.business_payload({"payload": {"payload": {"amount": 5}}})
        {'amount': 5}
        """
        payload: dict[str, Any] = event.get("payload") or {}
        inner = payload.get("payload")
        return inner if isinstance(inner, dict) else payload

    def __subscribe(
        self, poller: "InProcessDomainEventPoller", pattern: str, earlier: list[str]
    ) -> None:
        run = self.__run

        def callback(event: InProcessDomainEvent) -> None:
            if self.__run is not run:
                return
            if any(fnmatchcase(event.event_name, other) for other in earlier):
                return
            self._handle_if_matches(event, pattern)

        poller.on_event(callback)
        # Programs may pass a poller of their own that cannot do this.
        off_event = getattr(poller, "off_event", None)
        if off_event is not None:
            self.__unsubscribe = (*self.__unsubscribe, lambda: off_event(callback))
        self._subscriptions.append(pattern)

    def _handle_if_matches(self, event: InProcessDomainEvent, pattern: str) -> None:
        if not fnmatchcase(event.event_name, pattern):
            return
        given = event.model_dump()
        try:
            self.handle_event_safely(given)
        except BaseException as exc:
            # An exit or a cancellation. Where a handler calls the method, it may
            # be an interrupt, which must get out; here it is not.
            if not is_failure(exc):
                raise
            self.__report(given, exc)

    def __report(self, event: dict[str, Any], error: BaseException) -> None:
        try:
            # It is told of exits too, which its signature does not promise.
            self.on_handle_error(event, error)  # type: ignore[arg-type]
        except BaseException as exc:
            if not is_failure(exc):
                raise
            domain_events.log_error(
                f"{type(self).__name__}: on_handle_error failed: "
                f"{line_of(exc)} (it was called with {line_of(error)})"
            )
