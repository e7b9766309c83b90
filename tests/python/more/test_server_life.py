"""The server from its start to its exit code."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tasker_core import (
    EventBridge,
    EventNames,
    EventPoller,
    StepContext,
    StepExecutionSubscriber,
    StepHandler,
    StepHandlerResult,
)
from tasker_core.bin import server
from tasker_core.handler import HandlerRegistry

from tests.python.more.fake_host import FakeHost

SCRIPT = Path(server.__file__)
REPOSITORY = Path(__file__).resolve().parents[3]

# A process whose host is the tests' own.
PROGRAM = """
from tasker_core import _tasker_core
from tests.python.more.fake_host import FakeHost

_tasker_core._taskerpy = FakeHost()
{before}
import sys
from tasker_core.bin import server
sys.exit(server.main())
"""


class Greet(StepHandler):
    """The handler of the steps that these tests deliver."""

    handler_name = "server_life_greet"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Greet."""
        return self.success({"greeting": f"Hello {context.get_input('name')}"})


@pytest.fixture
def quiet(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> FakeHost:
    """A host; the test's process keeps its own signal handlers."""
    monkeypatch.setattr("signal.signal", Mock())
    caplog.set_level(logging.DEBUG, "python-worker")
    return host


def send(number: signal.Signals) -> None:
    """Call what ``main`` has installed for a signal."""
    install = signal.signal
    assert isinstance(install, Mock)
    installed = {call.args[0]: call.args[1] for call in install.call_args_list}
    installed[number](number, None)


def stop_when(monkeypatch: pytest.MonkeyPatch, turns: int = 0) -> list[float]:
    """Let the main loop end after so many turns; returns the periods it has waited."""
    periods: list[float] = []
    install = server._install_signal_handlers

    def wait(timeout: float) -> bool:
        periods.append(timeout)
        return len(periods) > turns

    def prepare(shutdown: Any) -> None:
        install(shutdown)
        monkeypatch.setattr(shutdown, "wait", wait)

    monkeypatch.setattr(server, "_install_signal_handlers", prepare)
    return periods


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_banner_tells_what_the_worker_starts_with(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "python-worker")
    monkeypatch.setenv("TASKER_ENV", "test")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@localhost/tasker")
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", "/templates")
    server.show_banner()
    version = ".".join(map(str, sys.version_info[:3]))
    assert messages(caplog)[:9] == [
        "=" * 60,
        "Starting Python Worker Bootstrap System",
        "=" * 60,
        "Environment: test",
        f"Python Version: {version}",
        "Database URL: [REDACTED]",
        "Template Path: /templates",
        "Web Bind Address: Not set",
        "Config Path: Not set",
    ]
    assert messages(caplog)[9] == "Configuration:"
    assert [line[:2] for line in messages(caplog)[10:]] == ["  ", "  "]
    assert "secret" not in caplog.text


def test_the_banner_has_words_for_what_is_not_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "python-worker")
    server.show_banner()
    assert "Environment: development" in messages(caplog)
    assert "Database URL: Not set" in messages(caplog)


def test_the_banner_of_production_tells_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "python-worker")
    monkeypatch.setenv("TASKER_ENV", "production")
    server.show_banner()
    assert messages(caplog)[-1] == "  Production optimizations: Enabled"


@pytest.mark.parametrize(
    ("told", "level"),
    [
        ("", "info"),
        ("trace", "trace"),
        ("DEBUG", "debug"),
        ("warn", "warn"),
        ("nonsense", "info"),
        ("error,sqlx=warn", "error"),
        ("sqlx=warn, Debug", "debug"),
    ],
)
def test_the_log_level_is_read_from_filter_directives_too(
    monkeypatch: pytest.MonkeyPatch, told: str, level: str
) -> None:
    """Directives and capitals in RUST_LOG ended the server with code 4."""
    monkeypatch.setenv("RUST_LOG", told)
    assert server._log_level() == level


def test_health_tells_the_status(host: FakeHost) -> None:
    host.running = True
    health = server.health_check()
    assert health["healthy"] is True
    assert health["status"]["running"] is True


def test_health_tells_what_keeps_it_from_telling(host: FakeHost) -> None:
    host.failures["get_worker_status"] = RuntimeError("Failed to get status: locked")
    assert server.health_check() == {"healthy": False, "error": "Failed to get status: locked"}


def test_without_a_worker_health_is_bad() -> None:
    assert server.health_check()["healthy"] is False


def test_an_orderly_end_gives_zero(quiet: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_when(monkeypatch)
    assert server.main() == 0
    assert not quiet.running
    assert not EventBridge.instance().is_active
    assert quiet.called("transition_to_graceful_shutdown", "stop_worker") == [
        "transition_to_graceful_shutdown",
        "stop_worker",
    ]


def test_no_step_comes_from_the_beginning_of_the_shutdown(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker stayed ready, and claimed steps, until its last step had ended."""
    before: list[str] = []
    really_stop = EventPoller.stop

    def stop(poller: EventPoller, timeout: float) -> None:
        before.extend(quiet.calls)
        really_stop(poller, timeout)

    stop_when(monkeypatch)
    monkeypatch.setattr(EventPoller, "stop", stop)
    assert server.main() == 0
    assert "transition_to_graceful_shutdown" in before
    assert "stop_worker" not in before


def test_namespace_and_level_reach_the_host(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKER_NAMESPACE", "shop")
    monkeypatch.setenv("RUST_LOG", "WARN,sqlx=debug")
    stop_when(monkeypatch)
    server.main()
    assert (quiet.configs[0]["namespace"], quiet.configs[0]["log_level"]) == ("shop", "warn")


def test_the_host_is_told_defaults(quiet: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_when(monkeypatch)
    server.main()
    assert (quiet.configs[0]["namespace"], quiet.configs[0]["log_level"]) == ("default", "info")


@pytest.mark.parametrize(("hostname", "worker_id"), [("node-7", "node-7"), ("", "python-worker")])
def test_steps_reach_their_handlers(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, hostname: str, worker_id: str
) -> None:
    monkeypatch.setenv("HOSTNAME", hostname)
    HandlerRegistry.instance(skip_bootstrap=True).register("server_life_greet", Greet)
    quiet.deliver("server_life_greet", {"name": "Ada"})
    monkeypatch.setattr(server, "_run_until", lambda shutdown: quiet.completed.wait(30))
    assert server.main() == 0
    completion = quiet.completions[0]
    assert completion["result"] == {"greeting": "Hello Ada"}
    assert completion["metadata"]["worker_id"] == worker_id


def test_being_ready_is_logged(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop_when(monkeypatch)
    server.main()
    assert "Worker ready and processing tasks" in messages(caplog)


def test_a_worker_that_runs_already_gives_three(
    quiet: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    quiet.running = True
    assert server.main() == 3
    assert [record.levelname for record in caplog.records][-1] == "ERROR"
    assert quiet.running


def test_a_host_that_cannot_start_gives_four(
    quiet: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    quiet.failures["bootstrap_worker"] = RuntimeError("Bootstrap failed: no database")
    assert server.main() == 4
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "no database" in critical[0].getMessage()
    assert critical[0].exc_info is not None


def test_an_error_in_the_main_loop_gives_four_and_stops_everything(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_run_until", Mock(side_effect=KeyError("x")))
    assert server.main() == 4
    assert not quiet.running
    assert not EventBridge.instance().is_active


def test_a_part_that_cannot_be_started_takes_back_the_others(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that failed half-way left the host's worker running."""
    monkeypatch.setattr(EventPoller, "start", Mock(side_effect=RuntimeError("no threads")))
    assert server.main() == 4
    assert not quiet.running


def test_an_error_of_the_shutdown_gives_one_and_stops_the_rest(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_when(monkeypatch)
    monkeypatch.setattr(StepExecutionSubscriber, "stop", Mock(side_effect=KeyError("x")))
    assert server.main() == 1
    assert not quiet.running


def test_a_host_that_is_gone_is_not_stopped_again(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def host_goes_away(shutdown: Any) -> None:
        quiet.running = False

    monkeypatch.setattr(server, "_run_until", host_goes_away)
    assert server.main() == 0
    assert quiet.called("stop_worker") == []


@pytest.mark.parametrize(("environment", "period"), [("production", 5), ("test", 1), ("", 1)])
def test_the_loop_waits_so_long(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, environment: str, period: float
) -> None:
    monkeypatch.setenv("TASKER_ENV", environment)
    periods = stop_when(monkeypatch, turns=2)
    server.main()
    assert periods == [period] * 3


@pytest.mark.parametrize(("running", "level"), [(True, "DEBUG"), (False, "WARNING")])
def test_every_sixtieth_turn_health_is_checked(
    quiet: FakeHost,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    running: bool,
    level: str,
) -> None:
    stop_when(monkeypatch, turns=125)
    quiet.answers["get_worker_status"] = {"running": running}
    server.main()
    checks = [r.levelname for r in caplog.records if r.getMessage().startswith("Health check")]
    assert checks == [level, level]


def test_errors_of_the_poller_are_logged_and_published(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    published = threading.Event()
    errors: list[Exception] = []

    def listen(error: Exception) -> None:
        errors.append(error)
        published.set()

    def run(shutdown: Any) -> None:
        EventBridge.instance().subscribe(EventNames.POLLER_ERROR, listen)
        quiet.failures["poll_step_events"] = RuntimeError("queue gone")
        assert published.wait(30)
        del quiet.failures["poll_step_events"]

    monkeypatch.setattr(server, "_run_until", run)
    assert server.main() == 0
    assert str(errors[0]) == "queue gone"
    assert "Poller: RuntimeError: queue gone" in messages(caplog)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_logged_and_ends_the_loop(
    quiet: FakeHost,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
) -> None:
    def run(shutdown: Any) -> None:
        send(number)
        assert shutdown.wait(10)

    monkeypatch.setattr(server, "_run_until", run)
    assert server.main() == 0
    assert f"Received {number.name} signal, initiating shutdown..." in messages(caplog)


def test_sigusr1_logs_the_status(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_run_until", lambda shutdown: send(signal.SIGUSR1))
    assert server.main() == 0
    lines = [line for line in messages(caplog) if line.startswith("Worker Status: ")]
    assert "'running': True" in lines[0]


def test_sigusr1_logs_that_the_status_cannot_be_had(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(shutdown: Any) -> None:
        quiet.failures["get_worker_status"] = RuntimeError("locked")
        send(signal.SIGUSR1)

    monkeypatch.setattr(server, "_run_until", run)
    assert server.main() == 0
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors == ["The worker's status cannot be had: locked"]


def test_where_there_is_no_sigusr1_none_is_installed(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("signal.SIGUSR1")
    stop_when(monkeypatch)
    assert server.main() == 0


class BusyStream(logging.Handler):
    """What the main thread writes to when the signal comes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Refuse the main thread, as a stream does that it is in already."""
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError("reentrant call")


def test_fix_a_signal_that_comes_while_a_line_is_written_is_not_lost(
    quiet: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal's own log line failed, and with it the shutdown."""
    busy = BusyStream()

    def run(shutdown: Any) -> None:
        server.logger.addHandler(busy)
        try:
            send(signal.SIGTERM)
        finally:
            server.logger.removeHandler(busy)
        assert shutdown.wait(10)

    monkeypatch.setattr(server, "_run_until", run)
    assert server.main() == 0


def run_program(before: str = "") -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[2]), str(REPOSITORY)]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_ends_with_zero_on_a_signal(number: signal.Signals) -> None:
    with run_program() as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Worker ready and processing tasks" in line:
                break
        process.send_signal(number)
        try:
            output, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert f"[INFO] python-worker: Received {number.name} signal" in log
    assert output == ""


def test_fix_a_signal_that_comes_while_the_program_begins_to_wait_does_not_hang_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    shutdown = server._Shutdown()
    server._install_signal_handlers(shutdown)
    handling = threading.Thread(target=handlers[signal.SIGTERM], args=(signal.SIGTERM, None))
    with shutdown._cond:  # type: ignore[attr-defined]  # as Event.wait holds it
        handling.start()
        handling.join(10)
        assert not handling.is_alive()
    assert shutdown.wait(10)
    shutdown.finish()


def test_a_script_without_a_host_ends_with_four(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert "[CRITICAL] python-worker: Worker failed: Bootstrap failed: " in done.stderr
    assert done.stdout == ""


def test_the_script_can_be_executed() -> None:
    script = REPOSITORY / "stdlib" / "tasker_core" / "bin" / "server.py"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
