"""A program publishes events of its own, and receives the log of the host."""

import logging
import threading
import time
import uuid

import tasker_core
from tasker_core import BaseSubscriber, InProcessDomainEventPoller, bootstrap_worker, stop_worker
from tasker_core.logging import receive_host_records

records: list[logging.LogRecord] = []


class Keep(logging.Handler):
    """Keeps what it is given."""

    def emit(self, record: logging.LogRecord) -> None:
        records.append(record)


host = logging.getLogger("tasker_core.host")
host.addHandler(Keep())
host.setLevel(logging.INFO)
receiving = receive_host_records()
try:
    receive_host_records()
    raise AssertionError("two programs cannot have the same records")
except RuntimeError as error:
    assert "already" in str(error), error

try:
    tasker_core.publish_domain_event("stock.low", {})
    raise AssertionError("there is no worker yet")
except RuntimeError as error:
    assert "not initialized" in str(error), error

bootstrap_worker()
assert tasker_core.worker_status().running is True
assert tasker_core.get_config().supported_namespaces == ["programs"]

poller = InProcessDomainEventPoller()
handled = threading.Event()


class Stock(BaseSubscriber):
    """Waits for one event."""

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["stock.*"]

    def handle(self, event: dict[str, object]) -> None:
        assert self.business_payload(event) == {"sku": "A-17", "left": 2**70}
        assert str(event["event_id"]) == published
        assert event["execution_result"] is None
        metadata = event["metadata"]
        assert isinstance(metadata, dict) and metadata["namespace"] == "shop"
        assert metadata["fired_by"] == "publish_domain_event"
        handled.set()


Stock().start(poller)
published = tasker_core.publish_domain_event(
    "stock.low", {"sku": "A-17", "left": 2**70}, {"namespace": "shop"}
)
poller.start()
assert handled.wait(60)
poller.stop()

unknown = str(uuid.uuid4())
assert tasker_core.complete_step_event(unknown, {"success": True}) is False
stop_worker()

receiving.stop()
receiving.stop()  # is fine
assert "tasker-host-records" not in [thread.name for thread in threading.enumerate()]
(refusal,) = [record for record in records if unknown in record.getMessage()]
assert (refusal.name, refusal.levelno) == ("tasker_core.host", logging.WARNING)
assert refusal.__dict__["fields"] == {"event_id": unknown}
assert abs(refusal.created - time.time()) < 120
print("done")
