"""What a request that fails raises."""

import copy
import pickle
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tasker_core import TaskerClient, _rest, _tasker_core
from tasker_core.client import TaskerClientError

from tests.python.more.fake_host import STEP, TASK, ApiRequest, FakeApi, a_page, a_task

NOT_FOUND = {"error": {"code": "NOT_FOUND", "message": "no such task"}}

OPERATIONS: list[tuple[str, Callable[[], Any]]] = [
    ("create_task", lambda: TaskerClient().create_task("order_intake")),
    ("get_task", lambda: TaskerClient().get_task(TASK)),
    ("list_tasks", lambda: TaskerClient().list_tasks()),
    ("cancel_task", lambda: TaskerClient().cancel_task(TASK)),
    ("list_task_steps", lambda: TaskerClient().list_task_steps(TASK)),
    ("get_step", lambda: TaskerClient().get_step(TASK, STEP)),
    ("get_step_audit_history", lambda: TaskerClient().get_step_audit_history(TASK, STEP)),
    ("health_check", lambda: TaskerClient().health_check()),
]


@pytest.mark.parametrize(("operation", "ask"), OPERATIONS)
def test_a_refusal_names_the_operation_the_status_and_the_answer(
    api: FakeApi, operation: str, ask: Callable[[], Any]
) -> None:
    api.answers((404, NOT_FOUND))
    with pytest.raises(RuntimeError) as caught:
        ask()
    assert str(caught.value).startswith(f"{operation} failed: HTTP 404: ")
    assert "no such task" in str(caught.value)


def test_a_refusal_carries_status_and_code(api: FakeApi) -> None:
    """A transport error was a plain RuntimeError without status or retry hint."""
    api.answers((404, NOT_FOUND))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    error = caught.value
    assert (error.operation, error.status_code, error.code) == ("get_task", 404, "NOT_FOUND")
    assert error.retryable is False
    assert error.retry_after_seconds is None


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (409, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_a_refusal_tells_whether_to_try_again(api: FakeApi, status: int, retryable: bool) -> None:
    api.answers((status, {}))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    assert caught.value.retryable is retryable


def test_a_busy_api_tells_in_its_answer_how_long_to_wait(api: FakeApi) -> None:
    api.answers((503, {"error": {"code": "BACKPRESSURE", "retry_after_seconds": 7}}))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    assert caught.value.retry_after_seconds == 7


def test_a_busy_api_tells_in_a_header_how_long_to_wait(api: FakeApi) -> None:
    api.answer_headers["Retry-After"] = "3"
    api.answers((503, b"busy"))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    assert caught.value.retry_after_seconds == 3


@pytest.mark.parametrize("answer", [b"<html>", b'["no", "object"]', b'{"error": "text"}'])
def test_a_refusal_may_be_any_text(api: FakeApi, answer: bytes) -> None:
    api.answers((502, answer))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    assert caught.value.code is None
    assert caught.value.detail == f"HTTP 502: {answer.decode()}"


def test_of_a_long_refusal_only_the_start_is_told(api: FakeApi) -> None:
    api.answers((500, b"x" * 100_000))
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().get_task(TASK)
    assert len(str(caught.value)) < 3000


def test_a_redirection_is_not_followed(api: FakeApi) -> None:
    api.answer_headers["Location"] = "/elsewhere"
    api.answers((307, b""))
    with pytest.raises(TaskerClientError, match="HTTP 307"):
        TaskerClient().get_task(TASK)
    assert len(api.requests) == 1


def test_creating_is_tried_three_times_with_two_and_four_seconds_between(api: FakeApi) -> None:
    waits: list[float] = []
    api.answers((503, {}), (500, {}), (200, a_task()))
    endpoint = _rest.Endpoint(api.url, 30, ())
    assert _rest.Api(endpoint, sleep=waits.append).create_task(b"{}") == a_task()
    assert waits == [2, 4]


def test_creating_is_given_up_after_three_attempts(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rest, "_CREATE_WAITS", (0, 0))
    api.answers((503, {}))
    with pytest.raises(TaskerClientError, match=r"^create_task failed: HTTP 503"):
        TaskerClient().create_task("order_intake")
    assert len(api.requests) == 3


def test_each_attempt_to_create_sends_the_same_request(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rest, "_CREATE_WAITS", (0, 0))
    api.answers((503, {}), (200, a_task()))
    TaskerClient().create_task("order_intake")
    assert api.requests[0].body == api.requests[1].body


def test_creating_is_not_tried_again_after_a_refusal(api: FakeApi) -> None:
    api.answers((409, {"error": {"code": "CONFLICT"}}))
    with pytest.raises(TaskerClientError, match="HTTP 409"):
        TaskerClient().create_task("order_intake")
    assert len(api.requests) == 1


def test_reading_is_not_tried_again(api: FakeApi) -> None:
    api.answers((503, {}))
    with pytest.raises(TaskerClientError):
        TaskerClient().get_task(TASK)
    assert len(api.requests) == 1


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", f"http://127.0.0.1:{port}")
    return port


def test_a_server_that_is_not_there_is_named_with_the_remedy(closed_port: int) -> None:
    with pytest.raises(TaskerClientError) as caught:
        TaskerClient().health_check()
    error = caught.value
    assert f"127.0.0.1:{closed_port}" in str(error)
    assert "TASKER_ORCHESTRATION_URL" in str(error)
    assert "\n" not in str(error)
    assert (error.status_code, error.retryable) == (None, True)


def test_creating_is_tried_again_while_no_server_is_there(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tasker_core._rest.time.sleep", waits.append)
    with pytest.raises(TaskerClientError, match=r"^create_task failed: "):
        TaskerClient().create_task("order_intake")
    assert waits == [2, 4]


def test_a_server_that_does_not_answer_is_given_up(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    def respond(request: ApiRequest) -> tuple[int, Any]:
        given_up.wait(30)
        return 200, {}

    api.respond = respond
    monkeypatch.setenv("TASKER_ORCHESTRATION_TIMEOUT_MS", "50")
    with pytest.raises(TaskerClientError, match=r"did not answer within 0\.05 s") as caught:
        TaskerClient().get_task(TASK)
    given_up.set()
    assert caught.value.retryable is True


def answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"],
)
def test_a_connection_that_breaks_is_an_error_of_the_request(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", f"http://127.0.0.1:{port}")
        thread = threading.Thread(target=answer_once, args=(server, answer))
        thread.start()
        with pytest.raises(TaskerClientError, match=r"^get_task failed: ") as caught:
            TaskerClient().get_task(TASK)
        thread.join(30)
    assert caught.value.retryable is True


def test_a_refusal_that_breaks_off_keeps_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("TASKER_ORCHESTRATION_URL", f"http://127.0.0.1:{port}")
        answer = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        thread = threading.Thread(target=answer_once, args=(server, answer))
        thread.start()
        with pytest.raises(TaskerClientError) as caught:
            TaskerClient().get_task(TASK)
        thread.join(30)
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("operation", "ask", "answer"),
    [
        ("get_task", OPERATIONS[1][1], b"no JSON"),
        ("get_task", OPERATIONS[1][1], b"\xff"),
        ("get_task", OPERATIONS[1][1], []),
        ("get_task", OPERATIONS[1][1], {"name": "without the rest"}),
        ("list_tasks", OPERATIONS[2][1], {"tasks": []}),
        ("list_tasks", OPERATIONS[2][1], {**a_page(), "tasks": {}}),
        ("list_task_steps", OPERATIONS[4][1], {}),
        ("list_task_steps", OPERATIONS[4][1], [1]),
        ("get_step_audit_history", OPERATIONS[6][1], [{}]),
        ("health_check", OPERATIONS[7][1], {}),
    ],
)
def test_an_answer_of_another_service_is_told_as_such(
    api: FakeApi, operation: str, ask: Callable[[], Any], answer: Any
) -> None:
    api.answers((200, answer))
    with pytest.raises(TaskerClientError, match=f"^{operation} failed: .*is that a Tasker API"):
        ask()


def test_an_unhealthy_api_is_an_error(api: FakeApi) -> None:
    api.answers((200, {"status": "degraded"}))
    with pytest.raises(TaskerClientError, match=r"^health_check failed: .* is degraded"):
        TaskerClient().health_check()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://localhost",
        "http://",
        "http://localhost:port",
        "http://local host",
        "http://[::1",
        "http://h\u00f6st",
    ],
)
def test_an_address_that_is_none_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", url)
    with pytest.raises(RuntimeError, match="TASKER_ORCHESTRATION_URL is not an address"):
        TaskerClient().get_task(TASK)


def test_credentials_in_the_address_are_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://user:secret@localhost")
    with pytest.raises(RuntimeError, match="TASKER_ORCHESTRATION_AUTH_TOKEN") as caught:
        TaskerClient().get_task(TASK)
    assert "secret" not in str(caught.value)


def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://localhost")
    monkeypatch.setenv("TASKER_AUTH_TOKEN", "sec\nret")
    with pytest.raises(RuntimeError, match="TASKER_AUTH_TOKEN") as caught:
        TaskerClient().get_task(TASK)
    assert "ret" not in str(caught.value).replace("characters", "")


@pytest.mark.parametrize("timeout", ["0", "soon", "-5", "1.5", "\u0663"])
def test_a_timeout_that_is_none_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://localhost")
    monkeypatch.setenv("TASKER_ORCHESTRATION_TIMEOUT_MS", timeout)
    with pytest.raises(RuntimeError, match="TASKER_ORCHESTRATION_TIMEOUT_MS"):
        TaskerClient().get_task(TASK)


@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_carried_to_another_process(
    carry: Callable[[TaskerClientError], TaskerClientError],
) -> None:
    error = TaskerClientError("get_task", "HTTP 503: busy", status_code=503, retryable=True)
    carried = carry(error)
    assert str(carried) == str(error)
    assert (carried.status_code, carried.retryable) == (503, True)


def test_an_error_of_the_client_is_one_of_the_native_module(api: FakeApi) -> None:
    api.answers((404, NOT_FOUND))
    with pytest.raises(TaskerClientError):
        _tasker_core.client_cancel_task(TASK)
