"""What one step costs in the published package's Python, in microseconds.

Usage: python published_step.py EVENT STEPS. It is run by a Python that has
tasker-py; EVENT is a file with an event as taskerpy hands it out. Prints the
time of one step: from the polled event through poller, bridge, subscriber and
handler to the submitted result. The two conversions between Python and Rust,
and the queue in between, are left out, because they need a database: so this is
less than a step costs there.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from tasker_core import (
    EventBridge,
    EventNames,
    EventPoller,
    HandlerRegistry,
    StepExecutionSubscriber,
)
from tasker_core import step_execution_subscriber as subscriber_module

event: dict[str, Any] = json.loads(Path(sys.argv[1]).read_bytes())
steps = int(sys.argv[2])
submitted: list[dict[str, Any]] = []


def submit(event_id: str, completion: dict[str, Any]) -> bool:
    submitted.append(completion)
    return True


vars(subscriber_module)["_complete_step_event"] = submit
registry = HandlerRegistry()
registry.register("add", runpy.run_path("handlers.py")["Add"])
bridge = EventBridge()
bridge.start()
subscriber = StepExecutionSubscriber(bridge, registry, "bench")
subscriber.start()
poller = EventPoller()
poller.on_step_event(lambda polled: bridge.publish(EventNames.STEP_EXECUTION_RECEIVED, polled))

for _ in range(steps // 10):
    poller._process_event(event)
submitted.clear()
started = time.perf_counter()
for _ in range(steps):
    poller._process_event(event)
took = time.perf_counter() - started
assert len(submitted) == steps
assert submitted[-1]["success"] is True, submitted[-1]
# Other lines are what the native module says about its own log.
print(f"us per step: {took / steps * 1e6}")
