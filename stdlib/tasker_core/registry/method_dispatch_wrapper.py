"""A handler whose ``call`` is another method of it."""

from typing import Any

__all__ = ["MethodDispatchWrapper"]


class MethodDispatchWrapper:
    """Makes ``call`` reach another method; all else is the handler's own.

    >>> class Orders:
    ...     name = "orders"
    ...     def refund(self, context):
    ...         return f"refund {context}"
    >>> wrapper = MethodDispatchWrapper(Orders(), "refund")
    >>> wrapper.call("A-1"), wrapper.name
    ('refund A-1', 'orders')
    """

    def __init__(self, handler: Any, target_method: str) -> None:
        if not hasattr(handler, target_method):
            raise AttributeError(
                f"Handler {type(handler).__name__} does not have method {target_method!r}"
            )
        self._handler = handler
        self._target_method = target_method

    @property
    def handler(self) -> Any:
        """The wrapped handler."""
        return self._handler

    @property
    def target_method(self) -> str:
        """The method that ``call`` reaches."""
        return self._target_method

    def call(self, context: Any) -> Any:
        """Call the target method; awaitable if that is ``async def``."""
        return getattr(self._handler, self._target_method)(context)

    def unwrap(self) -> Any:
        """Return the wrapped handler."""
        return self._handler

    def __getattr__(self, name: str) -> Any:
        # copy and pickle ask for special names before __init__ has run; and
        # asking the handler for our own attributes would never end then.
        if name in ("_handler", "_target_method") or (
            name.startswith("__") and name.endswith("__")
        ):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._handler, name)

    def __repr__(self) -> str:
        return (
            f"MethodDispatchWrapper({type(self._handler).__name__}, "
            f"target_method={self._target_method!r})"
        )
