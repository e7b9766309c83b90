"""Fast and broadcast events of finished steps can be polled by the program."""

import time
from typing import Any

from tasker_core import TaskerClient, bootstrap_worker, stop_worker
from tasker_core import _tasker_core as native
from tasker_core.domain_events import (
    BaseSubscriber,
    InProcessDomainEventPoller,
    SubscriberRegistry,
)
from tasker_core.types import InProcessDomainEvent


def polled() -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (event := native.poll_step_events()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return event


class Ledger(BaseSubscriber):
    """Notes what it is given."""

    seen: list[dict[str, Any]] = []

    @classmethod
    def subscribes_to(cls) -> list[str]:
        return ["work.d*", "work.tried"]

    def handle(self, event: dict[str, Any]) -> None:
        self.seen.append(event)


bootstrap_worker()
assert native.poll_in_process_events() is None
events: list[InProcessDomainEvent] = []
poller = InProcessDomainEventPoller()
poller.on_event(events.append)
SubscriberRegistry.instance().register(Ledger)
assert SubscriberRegistry.instance().start_all(poller) == 1
poller.start()

task = TaskerClient().create_task("announced", namespace="programs", context={})
first = polled()
failure = {
    "success": False,
    "metadata": {"retryable": True},
    "error": {"message": "no luck", "error_type": "Unlucky", "retryable": True},
}
assert native.complete_step_event(first["event_id"], failure)
second = polled()
checkpoint = {"step_uuid": second["step_uuid"], "cursor": 1, "items_processed": 1}
assert native.checkpoint_yield_step_event(second["event_id"], checkpoint)  # publishes nothing
assert native.complete_step_event(
    polled()["event_id"], {"success": True, "result": {"total": 2**70}}
)
deadline = time.monotonic() + 60
while len(events) < 3:
    assert time.monotonic() < deadline, events
    time.sleep(0.002)

# A durable event is not among them, nor one that does not fit its schema.
assert [event.event_name for event in events] == ["work.tried", "work.done", "work.told"]
tried, done, told = events
assert len({event.event_id for event in events}) == 3
for event in events:
    meta = event.metadata
    assert str(meta.task_uuid) == task.task_uuid and str(meta.step_uuid) == first["step_uuid"]
    assert str(meta.correlation_id) == task.correlation_id
    assert (meta.step_name, meta.namespace) == ("work", "programs")
    assert meta.fired_by == "DefaultDomainEventPublisher" and meta.fired_at
    assert event.event_version == "1.0"
    assert set(event.payload) == {"task_sequence_step", "execution_result", "payload"}
assert tried.payload["payload"]["error_message"] == "no luck"
assert done.payload["payload"] == told.payload["payload"] == {"total": 2**70}
assert done.execution_result is not None and done.execution_result.success
seen = [(event["event_name"], Ledger.business_payload(event)) for event in Ledger.seen]
assert seen == [
    ("work.tried", tried.payload["payload"]),
    ("work.done", {"total": 2**70}),
]
poller.stop()
stop_worker()
print("done")
