"""Start and end of the interpreter, called by the host."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

EMBEDDED = ("tasker_core", "taskerpy_host")

# What tasker_core imports, and the name to install it by.
DEPENDENCIES = {"pydantic": "pydantic", "pyee": "pyee", "httpx": "httpx", "yaml": "pyyaml"}


class EmbeddedFinder:
    """Finds the embedded packages in their own folder, before ``sys.path`` is asked.

    So a ``tasker_core`` installed in the virtualenv never wins, whatever a
    handler does to ``sys.path``.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in EMBEDDED:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._folder])


def install_as_command(folder: str) -> None:
    """Prepares an interpreter that behaves as the ``python`` command."""
    import signal

    sys.meta_path.insert(0, EmbeddedFinder(folder))
    # Go's runtime holds SIGINT already, so Python left it alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def install(folder: str) -> None:
    """Prepares an interpreter whose code runs on the host's lanes."""
    sys.meta_path.insert(0, EmbeddedFinder(folder))
    from taskerpy_host import streams

    streams.install(logging.DEBUG)


def describe_exception(error: BaseException) -> bytes:
    """Type, message and traceback of an exception, for the host."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return json.dumps(
        {"type": type(error).__name__, "message": str(error), "traceback": text}
    ).encode("ascii")


def configure(request: bytes) -> bytes:
    """Takes the host's settings and tells about this Python.

    Request: ``{"log_level": int, "switch_interval": float | null}``. Answer:
    version, executable, prefix and the missing dependencies, if any.
    """
    settings = json.loads(request)
    logging.getLogger().setLevel(settings["log_level"])
    if settings.get("switch_interval"):
        sys.setswitchinterval(settings["switch_interval"])
    missing = [
        package
        for module, package in DEPENDENCIES.items()
        if importlib.util.find_spec(module) is None
    ]
    return json.dumps(
        {
            "version": ".".join(map(str, sys.version_info[:3])),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "missing": missing,
        }
    ).encode("ascii")


def echo(data: bytes) -> bytes:
    """Gives the bytes back: what one crossing costs."""
    return data


def execute(source: bytes) -> None:
    """Runs Python source as a module of its own would, for tests of the host."""
    exec(compile(source, "<execute>", "exec"), {"__name__": "execute"})


def flush_streams() -> None:
    """Emits unfinished lines."""
    from taskerpy_host import streams

    streams.finish_all()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def flush(_: bytes) -> None:
    """Emits unfinished lines while handlers still run."""
    flush_streams()


def shutdown(_: bytes) -> bytes:
    """Runs what Python would run at exit: waits for non-daemon threads, runs
    ``atexit`` hooks, flushes. Called on the main thread, once, when no lane
    runs any more. Answers with the names of daemon threads still alive."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    flush_streams()
    alive = [
        t.name
        for t in threading.enumerate()
        if t is not threading.main_thread() and not isinstance(t, threading._DummyThread)
    ]
    return json.dumps(alive).encode()
