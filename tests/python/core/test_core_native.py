"""The native module: its shape, its arguments, and what it says without a worker (§2)."""

import ast
import inspect
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tasker_core
from tasker_core import _tasker_core as native

from tests.python.core.conftest import FakeHost

FUNCTIONS = """
    get_version get_rust_version health_check bootstrap_worker stop_worker get_worker_status
    transition_to_graceful_shutdown is_worker_running log_error log_warn log_info log_debug
    log_trace poll_step_events complete_step_event checkpoint_yield_step_event
    get_ffi_dispatch_metrics check_starvation_warnings cleanup_timeouts poll_in_process_events
    get_health_check get_metrics get_worker_config client_create_task client_get_task
    client_cancel_task client_list_task_steps client_list_tasks client_get_step
    client_get_step_audit_history client_health_check
""".split()
NO_WORKER = "Worker not initialized. Call bootstrap_worker() first."
UUID = "018f0000-0000-7000-8000-000000000001"
OTHER_UUID = "018f0000-0000-7000-8000-000000000002"
REQUEST = {
    "name": "order",
    "namespace": "shop",
    "version": "1.0.0",
    "context": {"order_id": 1},
    "initiator": "test",
    "source_system": "test",
    "reason": "test",
}


def test_exactly_31_functions_and_the_version_are_exported() -> None:
    public = {name for name in vars(native) if not name.startswith("_")}
    assert len(FUNCTIONS) == 31
    assert public == set(FUNCTIONS)
    assert set(vars(native)["__all__"]) == {*FUNCTIONS, "__version__"}


def test_it_is_a_module_with_settable_attributes() -> None:
    assert type(native) is types.ModuleType
    with mock.patch("tasker_core._tasker_core.get_version", return_value="patched"):
        assert native.get_version() == "patched"


def signatures(file: str) -> dict[str, str]:
    """Return the signatures of the public functions of a source file."""
    text = (Path(tasker_core.__file__).parent / file).read_text(encoding="utf-8")
    return {
        node.name: f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        for node in ast.parse(text.replace("_Any", "Any")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns
    }


def test_the_type_stub_declares_the_real_signatures() -> None:
    declared = signatures("_tasker_core.pyi")
    assert declared == signatures("_tasker_core.py")
    assert set(declared) == set(FUNCTIONS)


def test_the_functions_are_those_of_the_source() -> None:
    for name in FUNCTIONS:
        assert inspect.isfunction(getattr(native, name))
        assert getattr(native, name).__module__ == "tasker_core._tasker_core"


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(tasker_core.__file__).parent / "py.typed").is_file()


NEED_A_WORKER: list[tuple[str, tuple[Any, ...]]] = [
    ("transition_to_graceful_shutdown", ()),
    ("poll_step_events", ()),
    ("complete_step_event", (UUID, {})),
    (
        "checkpoint_yield_step_event",
        (UUID, {"step_uuid": UUID, "cursor": None, "items_processed": 0}),
    ),
    ("get_ffi_dispatch_metrics", ()),
    ("check_starvation_warnings", ()),
    ("cleanup_timeouts", ()),
    ("poll_in_process_events", ()),
    ("get_health_check", ()),
    ("get_metrics", ()),
    ("get_worker_config", ()),
    ("client_create_task", (REQUEST,)),
    ("client_get_task", (UUID,)),
    ("client_cancel_task", (UUID,)),
    ("client_list_task_steps", (UUID,)),
    ("client_list_tasks", ()),
    ("client_get_step", (UUID, UUID)),
    ("client_get_step_audit_history", (UUID, UUID)),
    ("client_health_check", ()),
]


@pytest.mark.parametrize(("name", "arguments"), NEED_A_WORKER)
def test_what_needs_a_worker_says_that_there_is_none(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(RuntimeError) as caught:
        getattr(native, name)(*arguments)
    assert str(caught.value) == NO_WORKER


def test_stopping_without_a_worker_says_so_each_time() -> None:
    assert [native.stop_worker(), native.stop_worker()] == ["Worker system not running"] * 2


def test_the_status_without_a_worker_has_two_keys() -> None:
    assert native.get_worker_status() == {
        "running": False,
        "error": "Worker system not initialized",
    }


def test_bootstrap_without_a_host_is_a_bootstrap_failure() -> None:
    with pytest.raises(RuntimeError, match=r"^Bootstrap failed: "):
        native.bootstrap_worker()
    assert native.is_worker_running() is False


@pytest.mark.parametrize(
    ("config", "named"), [("default", "config"), ({"namespace": 5}, "namespace")]
)
def test_bootstrap_refuses_what_is_of_a_wrong_type(config: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        native.bootstrap_worker(config)


def test_bootstrap_hands_its_configuration_to_the_host(host: FakeHost) -> None:
    host.answers["bootstrap_worker"] = {"status": "started", "handle_id": UUID}
    assert native.bootstrap_worker({"namespace": "shop"})["status"] == "started"
    name, arguments = host.only_call
    assert (name, arguments["config"]) == ("bootstrap_worker", {"namespace": "shop"})


def test_bootstrap_tells_the_host_the_environment_that_the_program_has_made(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", "/made/by/the/program")
    monkeypatch.setenv("NO_TEXT", os.fsdecode(b"\xff"))
    host.answers["bootstrap_worker"] = {"status": "started", "handle_id": UUID}
    native.bootstrap_worker()
    told = host.only_call[1]["environment"]
    assert told == {key: value for key, value in os.environ.items() if key != "NO_TEXT"}


@pytest.mark.parametrize("name", ["stop_worker", "transition_to_graceful_shutdown"])
def test_life_cycle_texts_come_from_the_host(name: str, host: FakeHost) -> None:
    host.answers[name] = "Worker system stopped"
    assert getattr(native, name)() == "Worker system stopped"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("get_worker_status", {"running": True}),
        ("is_worker_running", True),
        ("poll_step_events", {"event_id": UUID}),
        ("poll_step_events", None),
        ("poll_in_process_events", {"event_name": "a.b"}),
        ("poll_in_process_events", None),
        ("get_ffi_dispatch_metrics", {"pending_count": 1}),
        ("check_starvation_warnings", True),
        ("cleanup_timeouts", 3),
        ("get_health_check", {"status": "healthy"}),
        ("get_metrics", {"steps_processed": 1}),
        ("get_worker_config", {"polling_interval_ms": 10}),
    ],
)
def test_functions_without_arguments_give_the_hosts_answer(
    name: str, answer: Any, host: FakeHost
) -> None:
    host.answers[name] = answer
    assert getattr(native, name)() == answer
    assert host.only_call == (name, None)


def test_an_error_of_the_host_is_passed_on(host: FakeHost) -> None:
    host.answers["get_metrics"] = RuntimeError("FFI error: Failed to get metrics: no pool")
    with pytest.raises(RuntimeError, match="Failed to get metrics: no pool"):
        native.get_metrics()


@pytest.mark.parametrize("function", ["complete_step_event", "checkpoint_yield_step_event"])
@pytest.mark.parametrize("text", ["", "not-a-uuid", "018f0000-0000-7000-8000-00000000000"])
def test_an_invalid_event_id_is_a_value_error_before_anything_else(
    function: str, text: str
) -> None:
    with pytest.raises(ValueError, match=r"^Invalid event_id format: "):
        getattr(native, function)(text, {"step_uuid": 5})


@pytest.mark.parametrize(
    "text",
    [UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}"],
)
def test_all_spellings_of_an_event_id_reach_the_host_as_one(text: str, host: FakeHost) -> None:
    host.answers["complete_step_event"] = True
    assert native.complete_step_event(text, {}) is True
    assert host.only_call[1]["event_id_str"] == UUID


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (native.complete_step_event, (5, {})),
        (native.complete_step_event, (UUID, [])),
        (native.checkpoint_yield_step_event, (None, {})),
        (native.checkpoint_yield_step_event, (UUID, "text")),
        (native.client_create_task, ([],)),
        (native.client_get_task, (5,)),
        (native.client_get_step, (UUID, 5)),
        (native.client_list_tasks, ("50",)),
        (native.client_list_tasks, (50, 0, 5)),
        (native.log_info, (5,)),
        (native.log_info, ("text", "fields")),
        (native.log_info, ("text", {5: "value"})),
    ],
)
def test_an_argument_of_a_wrong_type_is_a_type_error(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError):
        function(*arguments)


def test_a_completion_that_cannot_be_converted_says_what_is_wrong() -> None:
    problem = "^Conversion error: Failed to convert completion data: success: expected a bool"
    with pytest.raises(ValueError, match=problem):
        native.complete_step_event(UUID, {"success": "yes"})


def test_a_checkpoint_that_cannot_be_converted_says_what_is_wrong() -> None:
    problem = "^Conversion error: Failed to convert checkpoint data: missing field 'step_uuid'"
    with pytest.raises(ValueError, match=problem):
        native.checkpoint_yield_step_event(UUID, {})


def test_a_checkpoint_reaches_the_host_with_its_four_keys(host: FakeHost) -> None:
    host.answers["checkpoint_yield_step_event"] = True
    given = {"step_uuid": OTHER_UUID, "cursor": {"at": 5}, "items_processed": 3, "more": 1}
    assert native.checkpoint_yield_step_event(UUID, given) is True
    assert host.only_call[1]["checkpoint_data"] == {
        "step_uuid": OTHER_UUID,
        "cursor": {"at": 5},
        "items_processed": 3,
        "accumulated_results": None,
    }


def test_a_task_request_that_cannot_be_converted_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Invalid task request: missing field 'name'"):
        native.client_create_task({})


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda: native.client_get_task("x"), "Invalid UUID: "),
        (lambda: native.client_cancel_task("x"), "Invalid UUID: "),
        (lambda: native.client_list_task_steps("x"), "Invalid UUID: "),
        (lambda: native.client_get_step("x", UUID), "Invalid task UUID: "),
        (lambda: native.client_get_step(UUID, "x"), "Invalid step UUID: "),
        (lambda: native.client_get_step_audit_history(UUID, "x"), "Invalid step UUID: "),
        (lambda: native.client_list_tasks(2**31), "limit must be"),
        (lambda: native.client_list_tasks(1, -(2**31) - 1), "offset must be"),
    ],
)
def test_client_functions_refuse_wrong_values(function: Callable[[], Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        function()


def test_a_forked_process_gets_an_exception_instead_of_a_hang(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_OWNER_PID", os.getpid() + 1)
    with pytest.raises(RuntimeError, match="cannot be called in a forked process"):
        native.poll_step_events()
    assert host.calls == []


def test_integers_of_any_size_come_back_exactly(host: FakeHost) -> None:
    number = 3**20_000
    host.answers["complete_step_event"] = True
    native.complete_step_event(UUID, {"result": {"small": -5}})
    with mock.patch.object(host, "call", side_effect=lambda name, payload: payload) as call:
        native.complete_step_event(UUID, {"result": {"number": number}})
    sent = call.call_args.args[1]
    import tasker_core._conversion as conversion

    assert conversion.decode(sent)["completion_data"]["result"] == {"number": number}
