"""Without a worker: what the native module and the modules on top of it say."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import tasker_core
from tasker_core import (
    BootstrapConfig,
    HandlerDiscovery,
    TemplateParser,
    TemplatePath,
    bootstrap,
    observability,
)
from tasker_core import _tasker_core as native

from tests.python.reference import sample
from tests.python.reference.recording import Recording

seen = Recording()

seen.note("versions", [tasker_core.version(), tasker_core.get_version(), tasker_core.__version__])
seen.note("healthy", tasker_core.health_check())
calls: dict[str, Any] = {
    "stop_worker": (),
    "get_worker_status": (),
    "is_worker_running": (),
    "transition_to_graceful_shutdown": (),
    "poll_step_events": (),
    "get_ffi_dispatch_metrics": (),
    "check_starvation_warnings": (),
    "cleanup_timeouts": (),
    "poll_in_process_events": (),
    "get_health_check": (),
    "get_metrics": (),
    "get_worker_config": (),
    "complete_step_event": (sample.STEP, {}),
    "checkpoint_yield_step_event": (sample.STEP, {}),
    "client_get_task": (sample.TASK,),
    "client_health_check": (),
    "client_list_tasks": (),
}
for name, arguments in calls.items():
    seen.call(f"native {name}", getattr(native, name), *arguments)
wrong: dict[str, tuple[Any, ...]] = {
    "complete of a bad id": ("complete_step_event", "x", {}),
    "complete of a number": ("complete_step_event", 5, {}),
    "complete of a list": ("complete_step_event", sample.STEP, []),
    "checkpoint of a bad id": ("checkpoint_yield_step_event", "x", {}),
    "bootstrap of a list": ("bootstrap_worker", []),
    "bootstrap of a number": ("bootstrap_worker", {"namespace": 5}),
    "log of a number": ("log_info", 5),
    "log of a list": ("log_info", "m", [1]),
}
for name, given in wrong.items():
    function, *arguments_of = given
    made = seen.call(f"native {name}", getattr(native, function), *arguments_of)
for name in ("get_worker_status", "is_worker_running", "stop_worker"):
    seen.call(f"bootstrap {name}", getattr(bootstrap, name))
seen.call("bootstrap transition", bootstrap.transition_to_graceful_shutdown)
for name in ("get_health_check", "get_metrics", "get_worker_config"):
    seen.call(f"observability {name}", getattr(observability, name))

answers: dict[str, Any] = {
    "started": {"handle_id": "h", "status": "started", "message": "m", "worker_id": "w"},
    "already running": {"handle_id": "h", "status": "already_running", "message": "m"},
    "nothing": {},
}
for name, answer in answers.items():
    with mock.patch("tasker_core.bootstrap._bootstrap_worker", return_value=answer) as start:
        seen.call(f"bootstrap {name}", bootstrap.bootstrap_worker)
        seen.call(
            f"bootstrap {name} with a config",
            bootstrap.bootstrap_worker,
            BootstrapConfig(worker_id="w", namespace="n", log_level="debug"),
        )
        seen.note(f"bootstrap {name}: given", [list(call.args) for call in start.call_args_list])
with mock.patch(
    "tasker_core.bootstrap._bootstrap_worker", side_effect=RuntimeError("Bootstrap failed: x")
):
    seen.call("bootstrap failing", bootstrap.bootstrap_worker)
statuses: dict[str, Any] = {
    "running": {
        "running": True,
        "environment": "test",
        "worker_core_status": "Running",
        "web_api_enabled": True,
        "supported_namespaces": ["a"],
        "database_pool_size": 1,
        "database_pool_idle": 1,
    },
    "stopped": {"running": False, "error": "Worker system not initialized"},
}
for name, status in statuses.items():
    with mock.patch("tasker_core.bootstrap._get_worker_status", return_value=status):
        seen.call(f"status {name}", bootstrap.get_worker_status)
health = {
    "status": "healthy",
    "is_running": True,
    "components": {"database": {"name": "database", "status": "healthy", "pool_size": 1}},
    "rust": {"a": 1},
    "python": {"b": 2},
}
with mock.patch("tasker_core.observability._get_health_check", return_value=health):
    seen.call("observability health", observability.get_health_check)
with mock.patch("tasker_core.observability._get_metrics", return_value={"steps_processed": 4}):
    seen.call("observability metrics", observability.get_metrics)
with mock.patch("tasker_core.observability._get_worker_config", return_value={"environment": "e"}):
    seen.call("observability config", observability.get_worker_config)
for level in ("error", "warn", "info", "debug", "trace"):
    target = f"tasker_core.logging._log_{level}"
    log = getattr(tasker_core, f"log_{level}")
    with mock.patch(target) as write:
        log("alone")
        log("with fields", {"a": 1, "b": None, "c": [1]})
        log("with context", tasker_core.LogContext(task_uuid="t", operation="o"))
        seen.note(f"log {level}", [list(call) for call in write.call_args_list])

templates = {
    "linear.yaml": "name: linear\nnamespace_name: math\nversion: 1.0.0\ndescription: d\n"
    "steps:\n  - {name: a, handler: {callable: m.A}}\n  - {name: b, handler: {callable: m.B}}\n",
    "nested/other.yml": "name: other\nsteps: [{handler: {callable: m.B}}, {handler: 5}, 7]\n",
    "empty.yaml": "steps: []\n",
    "text.yaml": "just text\n",
    "broken.yaml": "a: [\n",
    "float.yaml": "name: f\nversion: 1.0\nsteps: 5\n",
    "ignored.txt": "steps: []\n",
}
with TemporaryDirectory() as name:
    folder = Path(name).resolve()
    for file, text in templates.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)

    def short(value: Any) -> Any:
        return eval(repr(value).replace(str(folder), "F").replace("PosixPath", "str"))

    files = TemplatePath.discover_template_files(folder)
    seen.note("templates", short(files))
    seen.note("templates of nothing", TemplatePath.discover_template_files(folder / "no"))
    for each in sorted([*files, folder / "missing.yaml"]):
        label = str(each.relative_to(folder))
        seen.call(f"callables of {label}", TemplateParser.extract_handler_callables, each)
        seen.note(f"metadata of {label}", short(TemplateParser.extract_template_metadata(each)))
    seen.note("all handlers", HandlerDiscovery.discover_all_handlers(folder))
    seen.note("all metadata", short(HandlerDiscovery.discover_template_metadata(folder)))
    seen.note("by namespace", HandlerDiscovery.discover_handlers_by_namespace(folder))
    for environment in (
        {},
        {"TASKER_TEMPLATE_PATH": str(folder)},
        {"TASKER_TEMPLATE_PATH": str(folder / "no")},
        {"TASKER_TEMPLATE_PATH": ""},
        {"WORKSPACE_PATH": str(folder)},
    ):
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch("tasker_core.template_discovery.Path.cwd", return_value=folder),
        ):
            label = str(short(environment))
            seen.note(f"directory in {label}", short(TemplatePath.find_template_config_directory()))
    (folder / "config" / "tasks").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    with mock.patch("tasker_core.template_discovery.Path.cwd", return_value=inner):
        seen.note("workspace", short(TemplatePath._detect_workspace_root()))
        seen.note(
            "directory of the workspace", short(TemplatePath.find_template_config_directory())
        )
    for value in ("test", "TEST", "production", ""):
        with mock.patch.dict(os.environ, {"TASKER_ENV": value}):
            seen.note(f"test environment {value!r}", TemplatePath._is_test_environment())

seen.write()
