"""Tell other programs, or other code of this one, what happened in a step.

A template lists under ``publishes_events`` what a step publishes. A
*publisher* shapes such events or holds them back; a *subscriber* handles those
that are delivered inside the worker's own process.

>>> from tasker_core.domain_events import BaseSubscriber, DefaultPublisher, PublisherRegistry
>>> class PaymentPublisher(DefaultPublisher):
...     publisher_name = "payments"
...
...     def should_publish(self, ctx):
...         return bool(ctx.result and ctx.result.get("amount"))
>>> PublisherRegistry.instance().register(PaymentPublisher())
>>> class Ledger(BaseSubscriber):
...     @classmethod
...     def subscribes_to(cls):
...         return ["payment.*"]
...
...     def handle(self, event):
...         print(event["event_name"])
>>> Ledger().matches("payment.processed")
True
>>> PublisherRegistry.reset()
"""

import threading as threading
import time as time
from collections.abc import Callable
from typing import Any

from tasker_core import _tasker_core
from tasker_core.domain_events._direct import publish_domain_event as publish_domain_event
from tasker_core.domain_events._models import (
    EventDeclaration,
    PublishContext,
    StepEventContext,
    StepResult,
)
from tasker_core.domain_events._poller import DomainEventCallback as DomainEventCallback
from tasker_core.domain_events._poller import ErrorCallback as ErrorCallback
from tasker_core.domain_events._poller import InProcessDomainEventPoller
from tasker_core.domain_events._publisher import BasePublisher, DefaultPublisher
from tasker_core.domain_events._publisher_registry import PublisherRegistry
from tasker_core.domain_events._subscriber import BaseSubscriber
from tasker_core.domain_events._subscriber_registry import SubscriberRegistry
from tasker_core.logging import log_debug as log_debug
from tasker_core.logging import log_error as log_error
from tasker_core.logging import log_info as log_info
from tasker_core.logging import log_warn as log_warn
from tasker_core.types import InProcessDomainEvent as InProcessDomainEvent

__all__ = [
    "BasePublisher",
    "BaseSubscriber",
    "DefaultPublisher",
    "EventDeclaration",
    "InProcessDomainEventPoller",
    "PublishContext",
    "PublisherRegistry",
    "StepEventContext",
    "StepResult",
    "SubscriberRegistry",
]

# Where pollers get events from. It stands here, and not where it is used,
# because programs put another in its place under this name. The modules that
# are imported by their names above stand here for the same reason.
_poll_in_process_events: Callable[[], dict[str, Any] | None] = _tasker_core.poll_in_process_events
