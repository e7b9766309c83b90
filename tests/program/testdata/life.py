"""A worker is started, asked how it is, stopped, and started again."""

import uuid

from tasker_core import (
    bootstrap_worker,
    get_worker_status,
    is_worker_running,
    stop_worker,
)
from tasker_core.types import BootstrapConfig

assert not is_worker_running()
assert stop_worker() == "Worker system not running"
status = get_worker_status()
assert status.model_dump(exclude_none=True) == {
    "running": False,
    "error": "Worker system not initialized",
}

handles = set()
for config in (None, BootstrapConfig(namespace="programs", log_level="debug")):
    result = bootstrap_worker(config)
    assert result.success and result.status == "started", result
    assert result.message == "Python worker system started successfully"
    assert result.worker_id == f"python-worker-{uuid.UUID(result.handle_id)}"
    assert is_worker_running()

    status = get_worker_status()
    assert status.running and status.error is None
    assert status.worker_core_status == "Running"
    assert status.environment == "development"
    assert status.web_api_enabled is True
    assert status.supported_namespaces == ["programs"]
    assert status.database_pool_size == 1

    again = bootstrap_worker()
    assert not again.success and again.status == "already_running"
    assert again.message == "Worker system already running" and again.worker_id == ""
    assert again.handle_id != result.handle_id
    assert is_worker_running()

    assert stop_worker() == "Worker system stopped"
    assert not is_worker_running()
    assert stop_worker() == "Worker system not running"
    handles.add(result.handle_id)
assert len(handles) == 2
print("done")
