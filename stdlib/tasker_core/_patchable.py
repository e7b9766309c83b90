"""Names that tests replace in modules which do not need them at their import.

``unittest.mock.patch("tasker_core.event_poller.time.sleep")`` and the like
were written for modules that import ``time`` at their top. Here such a name is
looked up when somebody asks for it, so that nothing heavy is imported for it.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["patchable"]


def patchable(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``module`` that knows ``names``.

    Args:
        module: The ``__name__`` of the module that gets it.
        names: What each name stands for: ``"time"`` is a module, and
            ``"pyee:EventEmitter"`` an attribute of one.

    >>> ask = patchable("example", {"sleep": "time:sleep"})
    >>> ask("sleep").__module__
    'time'
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].partition(":")
        found = import_module(home)
        return getattr(found, attribute) if attribute else found

    return __getattr__
