"""Which publishers there are, by the names that templates use."""

import threading
from typing import ClassVar
from weakref import WeakKeyDictionary

from tasker_core import domain_events
from tasker_core.domain_events._publisher import BasePublisher, DefaultPublisher

__all__ = ["PublisherRegistry"]


class PublisherRegistry:
    """The publishers of this process.

    >>> registry = PublisherRegistry()
    >>> registry.register(DefaultPublisher(), name="orders")
    >>> registry.list_publishers()
    ['orders']
    >>> registry.validate_required(["orders", "payments"])
    ['payments']

    :meth:`instance` gives the one that workers use. It may be used from any
    thread.
    """

    _instance: ClassVar["PublisherRegistry | None"] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._publishers: dict[str, BasePublisher] = {}
        self._frozen = False
        self._default_publisher: BasePublisher = DefaultPublisher()

    @classmethod
    def instance(cls) -> "PublisherRegistry":
        """Return the registry of this process."""
        with cls._lock:
            if cls._instance is None:
                cls._instance = cls()
            return cls._instance

    @classmethod
    def reset(cls) -> None:
        """Forget the registry of this process; for tests."""
        with cls._lock:
            cls._instance = None

    def register(self, publisher: BasePublisher, name: str | None = None) -> None:
        """Add a publisher under ``name``, or under its own.

        Raises:
            RuntimeError: the registry is frozen.
            ValueError: it is not an instance of :class:`BasePublisher`.
        """
        with self._lock:
            if self._frozen:
                raise RuntimeError("PublisherRegistry is frozen, cannot register new publishers")
            if not isinstance(publisher, BasePublisher):
                raise ValueError(f"Expected BasePublisher instance, got {type(publisher)}")
            key = name or publisher.publisher_name
            if key in self._publishers:
                domain_events.log_warn(
                    f"PublisherRegistry: {key!r} takes the place of another publisher"
                )
            self._publishers[key] = publisher
        domain_events.log_debug(f"PublisherRegistry: {key!r} is {type(publisher).__name__}")

    def get(self, name: str) -> BasePublisher | None:
        """Return the publisher of that name, or ``None``."""
        return self._publishers.get(name)

    def get_or_default(self, name: str | None) -> BasePublisher:
        """Return the publisher of that name, else the default one."""
        publisher = None if name is None else self._publishers.get(name)
        return self._default_publisher if publisher is None else publisher

    def validate_required(self, names: list[str]) -> list[str]:
        """Return those of the names that no publisher has."""
        return [name for name in names if name not in self._publishers]

    def freeze(self) -> None:
        """Take no more changes."""
        with self._lock:
            self._frozen = True

    def unfreeze(self) -> None:
        """Take changes again."""
        with self._lock:
            self._frozen = False

    @property
    def is_frozen(self) -> bool:
        """Whether changes are refused."""
        return self._frozen

    def list_publishers(self) -> list[str]:
        """Return the names, first registered first."""
        with self._lock:
            return list(self._publishers)

    def clear(self) -> None:
        """Remove every publisher.

        Raises:
            RuntimeError: the registry is frozen.
        """
        with self._lock:
            if self._frozen:
                raise RuntimeError("PublisherRegistry is frozen, cannot clear")
            self._publishers.clear()


# The names that each registry was found to lack.
_missing: WeakKeyDictionary[PublisherRegistry, set[str]] = WeakKeyDictionary()


def warn_of_missing(registry: PublisherRegistry, name: str) -> None:
    """Log, once for each name, that templates want a publisher there is not."""
    with PublisherRegistry._lock:
        known = _missing.setdefault(registry, set())
        if name in known:
            return
        known.add(name)
    domain_events.log_warn(
        f"No publisher {name!r} is registered, the events of its steps go out as they are; "
        "register one with PublisherRegistry.instance().register()"
    )
