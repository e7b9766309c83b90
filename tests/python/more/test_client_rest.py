"""The native client functions against a real HTTP server."""

import json
import threading
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tasker_core import TaskerClient, _rest, _tasker_core
from tasker_core.client import HealthResponse
from tasker_core.types import ClientStepResponse, ClientTaskResponse

from tests.python.more.fake_host import (
    CORRELATION,
    NO_WORKER,
    STEP,
    TASK,
    ApiRequest,
    FakeApi,
    FakeHost,
    a_page,
    a_step,
    a_task,
)

REQUEST = {
    "name": "order_intake",
    "namespace": "shop",
    "version": "1.0.0",
    "context": {"order_id": "A-1"},
    "initiator": "cli",
    "source_system": "desk",
    "reason": "demo",
}
AUDIT = {
    "audit_uuid": "a",
    "workflow_step_uuid": STEP,
    "transition_uuid": "t",
    "task_uuid": TASK,
    "recorded_at": "2026-02-03T10:00:00Z",
    "success": True,
    "step_name": "pay",
    "to_state": "complete",
}


def test_a_task_is_created_by_a_post(api: FakeApi) -> None:
    api.answers((200, a_task()))
    _tasker_core.client_create_task(REQUEST)
    request = api.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/tasks")
    assert request.headers["content-type"] == "application/json"
    assert REQUEST.items() <= request.body.items()


def test_what_a_request_may_leave_out_is_filled_in(api: FakeApi) -> None:
    api.answers((200, a_task()))
    _tasker_core.client_create_task(REQUEST)
    body = api.requests[0].body
    assert body["tags"] == []
    assert datetime.fromisoformat(body["requested_at"]).tzinfo is None
    assert str(UUID(body["correlation_id"])) == body["correlation_id"]


def test_what_a_request_holds_is_not_replaced(api: FakeApi) -> None:
    api.answers((200, a_task()))
    given = {
        "tags": ["a"],
        "requested_at": "2026-02-03T10:00:00",
        "correlation_id": CORRELATION,
        "parent_correlation_id": TASK,
        "priority": 7,
        "idempotency_key": "k",
        "options": {"o": 1},
    }
    _tasker_core.client_create_task({**REQUEST, **given})
    assert given.items() <= api.requests[0].body.items()


def test_a_created_task_has_exactly_the_known_keys(api: FakeApi) -> None:
    answer = a_task(something_new=1)
    for optional in ("completed_at", "priority", "tags", "parent_correlation_id"):
        del answer[optional]
    api.answers((201, answer))
    created = _tasker_core.client_create_task(REQUEST)
    assert created == a_task(
        completed_at=None, priority=None, tags=None, parent_correlation_id=None
    )


def test_the_client_creates_a_task(api: FakeApi) -> None:
    api.answers((200, a_task()))
    task = TaskerClient().create_task("order_intake", namespace="shop", context={"n": 1})
    assert (task.task_uuid, task.name, task.total_steps) == (TASK, "order_intake", 4)
    assert api.requests[0].body["context"] == {"n": 1}


def test_a_task_is_read(api: FakeApi) -> None:
    api.answers((200, a_task(steps=[{"name": "pay"}])))
    assert _tasker_core.client_get_task(TASK)["steps"] == [{"name": "pay"}]
    assert (api.requests[0].method, api.requests[0].path) == ("GET", f"/v1/tasks/{TASK}")


def test_a_uuid_is_sent_in_its_usual_spelling(api: FakeApi) -> None:
    api.answers((200, a_task()))
    _tasker_core.client_get_task(TASK.replace("-", "").upper())
    assert api.requests[0].path == f"/v1/tasks/{TASK}"


def test_a_task_is_cancelled_by_a_delete(api: FakeApi) -> None:
    api.answers((200, a_task(status="cancelled")))
    assert _tasker_core.client_cancel_task(TASK) == {"cancelled": True}
    assert (api.requests[0].method, api.requests[0].path) == ("DELETE", f"/v1/tasks/{TASK}")


@pytest.mark.parametrize(
    ("limit", "offset", "page"), [(50, 0, "1"), (10, 20, "3"), (0, 0, "1"), (0, 5, "1")]
)
def test_limit_and_offset_become_a_page(api: FakeApi, limit: int, offset: int, page: str) -> None:
    api.answers((200, a_page()))
    _tasker_core.client_list_tasks(limit, offset)
    assert api.requests[0].query == {"page": page, "per_page": str(limit)}


def test_filters_are_sent(api: FakeApi) -> None:
    api.answers((200, a_page()))
    _tasker_core.client_list_tasks(10, 0, "shop & co", "pending")
    assert api.requests[0].query["namespace"] == "shop & co"
    assert api.requests[0].query["status"] == "pending"


def test_a_page_of_tasks_is_returned(api: FakeApi) -> None:
    api.answers((200, {**a_page(a_task()), "something_new": 1}))
    assert _tasker_core.client_list_tasks() == a_page(a_task())


def test_steps_are_listed(api: FakeApi) -> None:
    answer = a_step(something_new=1)
    del answer["results"]
    api.answers((200, [answer]))
    assert _tasker_core.client_list_task_steps(TASK) == [a_step(results=None)]
    assert api.requests[0].path == f"/v1/tasks/{TASK}/workflow_steps"


def test_a_step_is_read(api: FakeApi) -> None:
    api.answers((200, a_step(results={"result": {"n": 1}})))
    step = _tasker_core.client_get_step(TASK, STEP)
    assert step["results"] == {"result": {"n": 1}}
    assert api.requests[0].path == f"/v1/tasks/{TASK}/workflow_steps/{STEP}"


def test_audit_records_leave_out_what_is_not_set(api: FakeApi) -> None:
    unset = {"worker_uuid": None, "execution_time_ms": None, "result": None}
    api.answers((200, [{**AUDIT, **unset, "from_state": "pending"}]))
    records = _tasker_core.client_get_step_audit_history(TASK, STEP)
    assert records == [{**AUDIT, "from_state": "pending"}]
    assert api.requests[0].path == f"/v1/tasks/{TASK}/workflow_steps/{STEP}/audit"


def test_health_is_read_with_status_and_timestamp(api: FakeApi) -> None:
    """The status and the timestamp of the health answer were always empty."""
    api.answers((200, {"status": "healthy", "timestamp": "2026-02-03T10:00:00Z"}))
    assert TaskerClient().health_check() == HealthResponse(
        healthy=True, status="healthy", timestamp="2026-02-03T10:00:00Z"
    )
    assert api.requests[0].path == "/health"


def test_health_without_a_timestamp_is_read(api: FakeApi) -> None:
    api.answers((200, {"status": "healthy"}))
    assert _tasker_core.client_health_check()["timestamp"] == ""


def test_integers_of_any_size_come_back_exactly(api: FakeApi) -> None:
    api.answers((200, a_task(context={"n": 2**80})))
    assert _tasker_core.client_get_task(TASK)["context"] == {"n": 2**80}


def test_a_whole_percentage_is_a_float(api: FakeApi) -> None:
    api.answers((200, a_task(completion_percentage=100)))
    percentage = _tasker_core.client_get_task(TASK)["completion_percentage"]
    assert (percentage, type(percentage)) == (100.0, float)


ANSWERS = Path(__file__).parents[3] / "server" / "testdata"


def test_the_embedded_servers_own_answers_are_read(api: FakeApi) -> None:
    own = {name: json.loads((ANSWERS / f"{name}.json").read_text()) for name in ("task", "step")}
    client = TaskerClient()
    api.answers((200, own["task"]))
    ClientTaskResponse.model_validate(asdict(client.get_task(TASK)))
    api.answers((200, own["step"]))
    ClientStepResponse.model_validate(asdict(client.get_step(TASK, STEP)))


def test_other_threads_run_while_a_request_waits(api: FakeApi) -> None:
    """A request held the interpreter until it was answered."""
    asked, go_on = threading.Event(), threading.Event()

    def respond(request: ApiRequest) -> tuple[int, Any]:
        asked.set()
        assert go_on.wait(30)
        return 200, a_task()

    api.respond = respond
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(_tasker_core.client_get_task(TASK)))
    waiting.start()
    assert asked.wait(30)
    go_on.set()
    waiting.join(30)
    assert answers == [a_task()]


def test_two_requests_wait_at_once(api: FakeApi) -> None:
    """A lock was held during each request."""
    both = threading.Barrier(2)

    def respond(request: ApiRequest) -> tuple[int, Any]:
        both.wait(30)
        return 200, a_task()

    api.respond = respond
    asking = [threading.Thread(target=_tasker_core.client_get_task, args=(TASK,)) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert len(api.requests) == 2 and not both.broken


def tasks(first: int, last: int) -> list[dict[str, Any]]:
    return [a_task(name=str(number)) for number in range(first, last)]


def test_an_offset_inside_a_page_starts_there(api: FakeApi) -> None:
    """An offset that is no multiple of the limit was rounded down to a page."""
    pages = {"2": tasks(10, 20), "3": tasks(20, 30)}
    api.respond = lambda request: (
        200,
        a_page(*pages[request.query["page"]], page=int(request.query["page"]), total=40),
    )
    answer = _tasker_core.client_list_tasks(10, 15)
    assert [task["name"] for task in answer["tasks"]] == [str(n) for n in range(15, 25)]
    assert answer["pagination"]["has_next"] is True
    assert answer["pagination"]["has_previous"] is True


def test_an_offset_inside_the_last_page_gives_what_is_left(api: FakeApi) -> None:
    api.answers((200, a_page(*tasks(10, 18), page=2, total=18)))
    answer = _tasker_core.client_list_tasks(10, 15)
    assert [task["name"] for task in answer["tasks"]] == ["15", "16", "17"]
    assert answer["pagination"]["has_next"] is False
    assert len(api.requests) == 1


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (10, -1), (2**31, 0), (10, 2**31)])
def test_a_limit_or_offset_out_of_range_is_refused(limit: int, offset: int) -> None:
    """Negative limits and offsets were passed on unchecked."""
    with pytest.raises(ValueError, match="must be between 0 and"):
        _tasker_core.client_list_tasks(limit, offset)


def test_a_token_is_sent(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKER_AUTH_TOKEN", "general")
    monkeypatch.setenv("TASKER_ORCHESTRATION_AUTH_TOKEN", " special\n")
    api.answers((200, a_task()))
    _tasker_core.client_get_task(TASK)
    assert api.requests[0].headers["authorization"] == "Bearer special"


@pytest.mark.parametrize(("header", "sent"), [(None, "x-api-key"), ("X-Key", "x-key")])
def test_an_api_key_is_sent(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, header: str | None, sent: str
) -> None:
    monkeypatch.setenv("TASKER_API_KEY", "k")
    if header is not None:
        monkeypatch.setenv("TASKER_API_KEY_HEADER", header)
    api.answers((200, a_task()))
    _tasker_core.client_get_task(TASK)
    assert api.requests[0].headers[sent] == "k"


def test_without_credentials_none_are_sent(api: FakeApi) -> None:
    api.answers((200, a_task()))
    _tasker_core.client_get_task(TASK)
    assert not {"authorization", "x-api-key"} & set(api.requests[0].headers)


def test_a_path_in_the_address_is_kept(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", f"{api.url}/tasker/")
    api.answers((200, a_task()))
    _tasker_core.client_get_task(TASK)
    assert api.requests[0].path == f"/tasker/v1/tasks/{TASK}"


def test_a_proxy_is_not_asked_for_loopback(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    api.answers((200, a_task()))
    assert _tasker_core.client_get_task(TASK) == a_task()


def test_the_host_tells_the_address_if_nobody_has_set_one(
    api: FakeApi, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TASKER_ORCHESTRATION_URL")
    host.answers["client_endpoint"] = {
        "base_url": api.url,
        "timeout_ms": 1500,
        "headers": {"X-From": "host"},
    }
    api.answers((200, a_task()))
    assert _tasker_core.client_get_task(TASK) == a_task()
    assert api.requests[0].headers["x-from"] == "host"


@pytest.mark.parametrize("headers", [{}, {"X-From": "host"}])
def test_what_the_host_says_comes_before_the_environment(
    api: FakeApi, host: FakeHost, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """A flag did not count, nor did a key from a file, where the variable was set."""
    host.answers["client_endpoint"] = {
        "base_url": api.url,
        "timeout_ms": 1500,
        "headers": headers,
    }
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TASKER_ORCHESTRATION_TIMEOUT_MS", "1")
    api.answers((200, a_task()))
    assert _tasker_core.client_get_task(TASK) == a_task()
    assert {key.lower(): value for key, value in headers.items()}.items() <= (
        api.requests[0].headers.items()
    )


def test_the_environment_counts_where_there_is_no_worker(api: FakeApi, host: FakeHost) -> None:
    api.answers((200, a_task()))
    assert _tasker_core.client_get_task(TASK) == a_task()


def test_the_environment_counts_where_the_host_has_no_client(api: FakeApi, host: FakeHost) -> None:
    host.answers["client_endpoint"] = None
    api.answers((200, a_task()))
    assert _tasker_core.client_get_task(TASK) == a_task()


def test_without_worker_and_address_there_is_no_client() -> None:
    with pytest.raises(RuntimeError) as caught:
        _tasker_core.client_get_task(TASK)
    assert str(caught.value) == NO_WORKER


def test_a_host_without_client_says_so(host: FakeHost) -> None:
    host.answers["client_endpoint"] = None
    with pytest.raises(RuntimeError) as caught:
        _tasker_core.client_health_check()
    assert str(caught.value) == (
        "Client not initialized. Orchestration client may not be configured."
    )


def test_ids_are_checked_before_the_worker() -> None:
    with pytest.raises(ValueError, match=r"^Invalid UUID: "):
        _tasker_core.client_get_task("x")


@pytest.mark.parametrize(
    ("task", "step", "problem"), [("x", STEP, "Invalid task UUID: "), (TASK, "x", "Invalid step")]
)
def test_of_two_ids_the_wrong_one_is_named(task: str, step: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        _tasker_core.client_get_step(task, step)


def test_a_request_is_checked_before_the_worker() -> None:
    with pytest.raises(ValueError, match=r"^Invalid task request: missing field 'namespace'"):
        _tasker_core.client_create_task({"name": "a"})


def test_a_handler_on_many_threads_may_use_one_client(api: FakeApi) -> None:
    api.respond = lambda request: (200, a_task(task_uuid=request.path.rsplit("/", 1)[1]))
    client, found = TaskerClient(), set()
    ids = [f"0190c0de-0000-7000-8000-{number:012}" for number in range(20)]
    threads = [
        threading.Thread(target=lambda task=task: found.add(client.get_task(task).task_uuid))
        for task in ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == set(ids)


def test_what_is_configured_is_read_with_each_request(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers((200, a_task()))
    client = TaskerClient()
    monkeypatch.setenv("TASKER_AUTH_TOKEN", "first")
    client.get_task(TASK)
    monkeypatch.setenv("TASKER_AUTH_TOKEN", "second")
    client.get_task(TASK)
    sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer first", "Bearer second"]


def test_the_timeout_is_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKER_ORCHESTRATION_URL", "http://localhost:8080")
    monkeypatch.setenv("TASKER_ORCHESTRATION_TIMEOUT_MS", "250")
    assert _rest.Endpoint.configured(lambda: None).timeout_seconds == 0.25


def test_the_timeout_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"base_url": "http://localhost:8080", "timeout_ms": 1500}
    assert _rest.Endpoint.configured(lambda: told).timeout_seconds == 1.5


def test_the_timeout_is_thirty_seconds() -> None:
    told = {"base_url": "http://localhost:8080"}
    assert _rest.Endpoint.configured(lambda: told).timeout_seconds == 30
