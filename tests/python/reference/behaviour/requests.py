"""HTTP handlers and the client: what is sent, and what is made of the answers."""

from __future__ import annotations

from typing import Any
from unittest import mock

import httpx
from tasker_core import (
    ApiHandler,
    ApiResponse,
    StepContext,
    StepHandler,
    StepHandlerResult,
    TaskerClient,
)
from tasker_core.step_handler.mixins import APIMixin

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()


class Shop(ApiHandler):
    handler_name = "shop"
    base_url = "http://shop.local/v1"
    default_headers = {"x-key": "1"}

    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


class Mixed(APIMixin, StepHandler):
    def call(self, context: StepContext) -> StepHandlerResult:
        return self.success({})


sent: list[Any] = []


def answer(request: httpx.Request) -> httpx.Response:
    sent.append(
        [
            request.method,
            str(request.url),
            request.content.decode().replace(" ", ""),
            request.headers.get("x-key"),
            request.headers.get("x-more"),
            request.headers.get("content-type"),
        ]
    )
    return httpx.Response(200, json={"ok": True})


handler = Shop()
handler._client = httpx.Client(
    base_url=handler.base_url,
    headers=handler.default_headers,
    transport=httpx.MockTransport(answer),
)
requests: dict[str, Any] = {
    "get": lambda: handler.get("/a", {"q": 1}, {"x-more": "2"}),
    "delete": lambda: handler.delete("/a", {"x-more": "2"}),
    "post": lambda: handler.post("/a", {"n": 1}, headers={"x-more": "2"}),
    "post data": lambda: handler.post("/a", data={"n": "1"}),
    "put": lambda: handler.put("/a", {"n": 1}),
    "patch": lambda: handler.patch("/a", {"n": 1}),
    "request": lambda: handler.request("OPTIONS", "/a", headers={"x-more": "2"}),
}
for name, make in requests.items():
    sent.clear()
    response = make()
    seen.note(f"{name}: sent", sent)
    seen.note(f"{name}: got", [response.status_code, response.body, response.ok])
seen.note("capabilities", [handler.capabilities, handler.api_capabilities, Mixed().capabilities])
handler.close()
seen.note("closed", [handler._client])
seen.call("closed twice", handler.close)
seen.note("client made", [str(Shop().client.base_url), Shop().client.timeout.connect])

bodies: dict[str, dict[str, Any]] = {
    "object": {"json": {"id": 7}},
    "list": {"json": [1, 2]},
    "text": {"text": "plain"},
    "nothing": {},
    "broken json": {"content": b"{", "headers": {"content-type": "application/json"}},
    "error text": {"json": {"error": "no funds"}},
    "error object": {"json": {"error": {"message": "no funds", "code": 3}}},
    "error list": {"json": {"error": ["x"], "detail": "later"}},
    "msg": {"json": {"msg": "m"}},
    "message wins": {"json": {"msg": "m", "message": "n"}},
}
for status in (200, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 410, 418, 422, 429):
    made = ApiResponse(httpx.Response(status, json={}))
    seen.note(f"{status}", [made.ok, made.is_client_error, made.is_server_error, made.is_retryable])
    seen.call(f"{status}: failure", handler.api_failure, made)
for status in (500, 501, 502, 503, 504, 505, 599):
    made = ApiResponse(httpx.Response(status, json={}))
    seen.note(f"{status}", [made.ok, made.is_client_error, made.is_server_error, made.is_retryable])
    seen.call(f"{status}: failure", handler.api_failure, made)
for name, body in bodies.items():
    for status in (200, 400, 503):
        made = ApiResponse(httpx.Response(status, **body))
        seen.note(f"{name} {status}: dict", made.to_dict())
        seen.call(f"{name} {status}: success", handler.api_success, made)
        seen.call(f"{name} {status}: failure", handler.api_failure, made)
    made = ApiResponse(httpx.Response(200, **body))
    seen.call(f"{name}: given result", handler.api_success, made, {"given": 1})
    seen.call(f"{name}: given nothing", handler.api_success, made, {}, False)
    seen.call(f"{name}: given message", handler.api_failure, made, "told")
for given in ("5", "0", "-1", "2.5", "Wed, 21 Oct 2026 07:28:00 GMT", "soon", ""):
    made = ApiResponse(httpx.Response(429, headers={"retry-after": given}))
    seen.note(f"retry after {given!r}", made.retry_after)
    seen.call(f"retry after {given!r}: failure", handler.api_failure, made)
seen.note("given body", ApiResponse(httpx.Response(200, json={"a": 1}), {"b": 2}).body)
for context in (None, "charging"):
    seen.call(f"connection error {context}", handler.connection_error, OSError("down"), context)
    seen.call(f"timeout error {context}", handler.timeout_error, TimeoutError("slow"), context)

task = {"task_uuid": "t", "name": "order", "status": "pending", "steps": [{"a": 1}], "unknown": 1}
client = TaskerClient()
other = TaskerClient("me", "mine")
calls: dict[str, Any] = {
    "create_task": lambda c: c.create_task("order"),
    "create_task with all": lambda c: c.create_task(
        "order",
        namespace="shop",
        context={"a": 1},
        version="2.0.0",
        reason="why",
        tags=["x"],
        priority=3,
    ),
    "get_task": lambda c: c.get_task("t"),
    "list_tasks": lambda c: c.list_tasks(),
    "list_tasks with all": lambda c: c.list_tasks(limit=5, offset=10, namespace="n", status="s"),
    "cancel_task": lambda c: c.cancel_task("t"),
    "list_task_steps": lambda c: c.list_task_steps("t"),
    "get_step": lambda c: c.get_step("t", "s"),
    "get_step_audit_history": lambda c: c.get_step_audit_history("t", "s"),
    "health_check": lambda c: c.health_check(),
}
answers: dict[str, Any] = {
    "create_task": [task, {}, {"priority": None, "context": None}],
    "get_task": [task],
    "list_tasks": [
        {"tasks": [task, 5], "pagination": {"page": 2, "total_count": 9}},
        {"tasks": []},
        {},
        {"pagination": 5},
    ],
    "cancel_task": [task],
    "list_task_steps": [[{"step_uuid": "s", "attempts": 2}], []],
    "get_step": [{"step_uuid": "s", "results": {"a": 1}}, {}],
    "get_step_audit_history": [[{"audit_uuid": "a", "success": True}], []],
    "health_check": [{"healthy": True}, {"status": "ok", "timestamp": "now"}, {}],
}
for name, call in calls.items():
    method = name.partition(" ")[0]
    for number, given in enumerate(answers[method]):
        target = f"tasker_core._tasker_core.client_{method}"
        with mock.patch(target, return_value=given) as native:
            seen.call(f"client {name} {number}", call, client if number % 2 == 0 else other)
            seen.note(f"client {name} {number}: native", [list(c) for c in native.call_args_list])
    with mock.patch(f"tasker_core._tasker_core.client_{method}", side_effect=RuntimeError("down")):
        seen.call(f"client {name}: failing", call, client)
seen.note("client", [client.initiator, client.source_system, other.initiator, other.source_system])
seen.note("sample", sample.TASK)

seen.write()
