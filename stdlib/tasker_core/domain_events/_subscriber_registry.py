"""Which subscribers there are, and which of them are at work."""

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from tasker_core import domain_events
from tasker_core.domain_events._subscriber import BaseSubscriber

if TYPE_CHECKING:
    from tasker_core.domain_events._poller import InProcessDomainEventPoller

__all__ = ["SubscriberRegistry"]


class SubscriberRegistry:
    """The subscribers of this process.

    >>> class Ledger(BaseSubscriber):
    ...     @classmethod
    ...     def subscribes_to(cls):
    ...         return ["payment.*"]
    ...
    ...     def handle(self, event):
    ...         pass
    >>> registry = SubscriberRegistry()
    >>> registry.register(Ledger)
    >>> registry.list_registered()
    {'classes': ['Ledger'], 'instances': []}

    :meth:`instance` gives the one that workers use. It may be used from any
    thread.
    """

    _instance: ClassVar["SubscriberRegistry | None"] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._subscriber_classes: dict[str, type[BaseSubscriber]] = {}
        self._subscriber_instances: dict[str, BaseSubscriber] = {}
        self._active_subscribers: list[BaseSubscriber] = []

    @classmethod
    def instance(cls) -> "SubscriberRegistry":
        """Return the registry of this process."""
        with cls._lock:
            if cls._instance is None:
                cls._instance = cls()
            return cls._instance

    @classmethod
    def reset(cls) -> None:
        """Stop what is at work and forget the registry; for tests."""
        with cls._lock:
            registry, cls._instance = cls._instance, None
        if registry is not None:
            registry.stop_all()

    def register(self, subscriber_class: type[BaseSubscriber]) -> None:
        """Add a class, which :meth:`start_all` makes an object of.

        Raises:
            ValueError: it is not a subclass of :class:`BaseSubscriber`.
        """
        if not isinstance(subscriber_class, type) or not issubclass(
            subscriber_class, BaseSubscriber
        ):
            raise ValueError(f"Expected BaseSubscriber subclass, got {subscriber_class}")
        self.__add(self._subscriber_classes, subscriber_class.__name__, subscriber_class)

    def register_instance(self, subscriber: BaseSubscriber, name: str | None = None) -> None:
        """Add an object under ``name``, or under the name of its class.

        Raises:
            ValueError: it is not an instance of :class:`BaseSubscriber`.
        """
        if not isinstance(subscriber, BaseSubscriber):
            raise ValueError(f"Expected BaseSubscriber instance, got {type(subscriber)}")
        self.__add(self._subscriber_instances, name or type(subscriber).__name__, subscriber)

    def start_all(self, poller: "InProcessDomainEventPoller") -> int:
        """Start every subscriber and return how many.

        One that fails is logged and passed over. Each call makes new objects
        of the classes; instances that are at work already stay so, and count.
        """
        with self._lock:
            classes = list(self._subscriber_classes.items())
            instances = list(self._subscriber_instances.items())
        started = 0
        for name, subscriber_class in classes:
            try:
                subscriber = subscriber_class()
            except Exception as exc:
                domain_events.log_error(
                    f"SubscriberRegistry: {name} was not made: {type(exc).__name__}: {exc}"
                )
                continue
            started += self.__start(name, subscriber, poller)
        for name, subscriber in instances:
            started += self.__start(name, subscriber, poller)
        return started

    def stop_all(self) -> int:
        """Stop every subscriber that is at work and return how many stopped."""
        with self._lock:
            active, self._active_subscribers = self._active_subscribers, []
        stopped = 0
        for subscriber in active:
            try:
                subscriber.stop()
                stopped += 1
            except Exception as exc:
                domain_events.log_error(
                    f"SubscriberRegistry: {type(subscriber).__name__} was not stopped: "
                    f"{type(exc).__name__}: {exc}"
                )
        return stopped

    def list_registered(self) -> dict[str, list[str]]:
        """Return the names, first registered first."""
        with self._lock:
            return {
                "classes": list(self._subscriber_classes),
                "instances": list(self._subscriber_instances),
            }

    @property
    def active_count(self) -> int:
        """How many subscribers are at work."""
        return len(self._active_subscribers)

    def stats(self) -> dict[str, Any]:
        """Return counts, and the patterns of the subscribers at work."""
        with self._lock:
            active = list(self._active_subscribers)
            counts = {
                "registered_classes": len(self._subscriber_classes),
                "registered_instances": len(self._subscriber_instances),
                "active_subscribers": len(active),
            }
        return {
            **counts,
            "subscriptions": [
                {
                    "class": type(subscriber).__name__,
                    "patterns": subscriber.subscriptions,
                    "active": subscriber.active,
                }
                for subscriber in active
            ],
        }

    def clear(self) -> None:
        """Stop what is at work and remove every subscriber."""
        self.stop_all()
        with self._lock:
            self._subscriber_classes.clear()
            self._subscriber_instances.clear()

    def __add(self, registered: dict[str, Any], name: str, subscriber: Any) -> None:
        with self._lock:
            if name in registered:
                domain_events.log_warn(
                    f"SubscriberRegistry: {name!r} takes the place of another subscriber"
                )
            registered[name] = subscriber
        domain_events.log_debug(f"SubscriberRegistry: {name!r} registered")

    def __start(
        self, name: str, subscriber: BaseSubscriber, poller: "InProcessDomainEventPoller"
    ) -> int:
        """Start one subscriber; return how many that started."""
        try:
            subscriber.start(poller)
        except Exception as exc:
            domain_events.log_error(
                f"SubscriberRegistry: {name} was not started: {type(exc).__name__}: {exc}"
            )
            return 0
        with self._lock:
            self._active_subscribers.append(subscriber)
        return 1
