"""A host inside the test's own process, and an orchestration API on loopback."""

import json
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TASK = "0190c0de-0000-7000-8000-000000000001"
STEP = "0190c0de-0000-7000-8000-000000000002"
CORRELATION = "0190c0de-0000-7000-8000-000000000004"
NO_WORKER = "Worker not initialized. Call bootstrap_worker() first."


class FakeHost:
    """Stands for the builtin module ``_taskerpy``: one worker, one queue of steps."""

    def __init__(self) -> None:
        self.running = False
        self.calls: list[str] = []
        self.configs: list[Any] = []
        self.queue: list[dict[str, Any]] = []
        self.completions: list[dict[str, Any]] = []
        self.completed = threading.Event()
        self.answers: dict[str, Any] = {}
        self.failures: dict[str, Exception] = {}

    def call(self, name: str, payload: bytes | None = None) -> bytes | None:
        """What Python calls."""
        if name.startswith("log_"):
            return None
        self.calls.append(name)
        if name in self.failures:
            raise self.failures[name]
        arguments = None if payload is None else json.loads(payload)
        answer = (
            self.answers[name]
            if name in self.answers
            else getattr(self, f"_{name}", self._without_worker)(arguments)
        )
        return None if answer is None else json.dumps(answer).encode()

    def deliver(self, callable_name: str, context: dict[str, Any]) -> None:
        """Queue a step for the handler of that name."""
        self.queue.append(
            {
                "event_id": str(uuid.uuid4()),
                "task_uuid": TASK,
                "step_uuid": STEP,
                "correlation_id": CORRELATION,
                "task_sequence_step": {
                    "task": {"task": {"context": context}},
                    "workflow_step": {"workflow_step_uuid": STEP, "name": "step"},
                    "step_definition": {"name": "step", "handler": {"callable": callable_name}},
                },
            }
        )

    def called(self, *names: str) -> list[str]:
        """Those of the calls that have one of these names, in order."""
        return [name for name in self.calls if name in names]

    def _without_worker(self, arguments: Any) -> Any:
        raise RuntimeError(NO_WORKER)

    def _bootstrap_worker(self, arguments: Any) -> dict[str, Any]:
        handle = str(uuid.uuid4())
        if self.running:
            return {"handle_id": handle, "status": "already_running", "message": "runs"}
        self.running = True
        self.configs.append(arguments["config"])
        return {
            "handle_id": handle,
            "worker_id": f"python-worker-{handle}",
            "status": "started",
            "message": "Python worker system started successfully",
        }

    def _stop_worker(self, arguments: Any) -> str:
        if not self.running:
            return "Worker system not running"
        self.running = False
        return "Worker system stopped"

    def _is_worker_running(self, arguments: Any) -> bool:
        return self.running

    def _transition_to_graceful_shutdown(self, arguments: Any) -> str:
        return "Worker system transitioned to graceful shutdown"

    def _get_worker_status(self, arguments: Any) -> dict[str, Any]:
        return {"running": self.running}

    def _poll_step_events(self, arguments: Any) -> dict[str, Any] | None:
        return self.queue.pop(0) if self.queue else None

    def _complete_step_event(self, arguments: Any) -> bool:
        self.completions.append(arguments["completion_data"])
        self.completed.set()
        return True


@dataclass
class ApiRequest:
    """A request as the API has received it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Respond = Callable[[ApiRequest], tuple[int, Any]]


@dataclass
class FakeApi:
    """An orchestration API that answers what it is told to."""

    url: str
    requests: list[ApiRequest] = field(default_factory=list)
    respond: Respond = lambda request: (200, {})
    answer_headers: dict[str, str] = field(default_factory=dict)

    def answers(self, *answers: tuple[int, Any]) -> None:
        """Answer the next requests so, the last answer to all that follow."""
        waiting = list(answers)

        def respond(request: ApiRequest) -> tuple[int, Any]:
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        self.respond = respond


def serve(api: FakeApi) -> ThreadingHTTPServer:
    """Return a server on loopback for ``api``; fills in its url."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            split = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            request = ApiRequest(
                method=self.command,
                path=split.path,
                query={key: values[0] for key, values in parse_qs(split.query).items()},
                headers={key.lower(): value for key, value in self.headers.items()},
                body=json.loads(text) if text else None,
            )
            api.requests.append(request)
            status, answer = api.respond(request)
            encoded = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for key, value in api.answer_headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(encoded)))
            # Some tests go away without waiting.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(encoded)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


def a_task(**changes: Any) -> dict[str, Any]:
    """A task as the API tells it."""
    return {
        "task_uuid": TASK,
        "name": "order_intake",
        "namespace": "shop",
        "version": "1.0.0",
        "status": "pending",
        "created_at": "2026-02-03T10:00:00Z",
        "updated_at": "2026-02-03T10:00:01Z",
        "completed_at": None,
        "context": {"order_id": "A-1"},
        "initiator": "cli",
        "source_system": "desk",
        "reason": "demo",
        "priority": 0,
        "tags": [],
        "correlation_id": CORRELATION,
        "parent_correlation_id": None,
        "total_steps": 4,
        "pending_steps": 3,
        "in_progress_steps": 1,
        "completed_steps": 0,
        "failed_steps": 0,
        "ready_steps": 0,
        "execution_status": "processing",
        "recommended_action": "wait_for_completion",
        "completion_percentage": 0.0,
        "health_status": "healthy",
        "steps": [],
        **changes,
    }


def a_step(**changes: Any) -> dict[str, Any]:
    """A step as the API tells it."""
    return {
        "step_uuid": STEP,
        "task_uuid": TASK,
        "name": "pay",
        "created_at": "2026-02-03T10:00:00.123456Z",
        "updated_at": "2026-02-03T10:00:01.123456Z",
        "completed_at": None,
        "results": None,
        "current_state": "pending",
        "dependencies_satisfied": True,
        "retry_eligible": True,
        "ready_for_execution": True,
        "total_parents": 0,
        "completed_parents": 0,
        "attempts": 0,
        "max_attempts": 3,
        "last_failure_at": None,
        "next_retry_at": None,
        "last_attempted_at": None,
        **changes,
    }


def a_page(*tasks: dict[str, Any], page: int = 1, total: int = 1) -> dict[str, Any]:
    """A page of tasks as the API tells it, ten to a page."""
    return {
        "tasks": list(tasks),
        "pagination": {
            "page": page,
            "per_page": 10,
            "total_count": total,
            "total_pages": -(-total // 10),
            "has_next": page * 10 < total,
            "has_previous": page > 1,
        },
    }
