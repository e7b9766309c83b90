"""The worker as a process of its own: ``python -m tasker_core.server``.

``taskerpy worker`` runs it. The module is :mod:`tasker_core.bin.server` under
a shorter name: it has that module's names, and what is put into one is seen in
the other. Inside the host it has a worker to start; in a Python of its own it
ends with exit code 4.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tasker_core.bin import server as _server

if TYPE_CHECKING:
    from tasker_core.bin.server import (
        health_check,
        initialize_handler_registry,
        logger,
        main,
        show_banner,
    )

__all__ = ["health_check", "initialize_handler_registry", "logger", "main", "show_banner"]


class _OtherName(ModuleType):
    """Has the names of the server, and mocks put here take effect there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_server, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_server, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_server, name)


if __name__ == "__main__":
    sys.exit(_server.main())

sys.modules[__name__].__class__ = _OtherName
