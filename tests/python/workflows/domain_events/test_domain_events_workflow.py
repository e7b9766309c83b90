"""An order whose steps publish what happened."""

from collections.abc import Iterator
from typing import Any

import pytest
from tasker_core.domain_events import PublisherRegistry
from tasker_core.domain_events._publication import publish_step_events
from tasker_core.handler import HandlerRegistry
from tasker_core.testing import StepRun, step_event

from tests.python.workflows.batch_runs import Workflow
from tests.python.workflows.domain_events import publishers

CLASSES, FUNCTIONS = "", "_dsl"
PACKAGES = {CLASSES: "domain_events_py", FUNCTIONS: "domain_events_dsl_py"}
TEMPLATES = {CLASSES: "domain_event_publishing_py", FUNCTIONS: "domain_event_publishing_dsl_py"}
ORDER = {
    "order_id": "0190c0de-0000-7000-8000-00000000000a",
    "customer_id": "customer-7",
    "amount": 120.5,
    "_test_run_id": "1",
}


@pytest.fixture(params=[CLASSES, FUNCTIONS])
def suffix(request: pytest.FixtureRequest) -> str:
    """Of the steps: handlers as classes, or as functions."""
    return str(request.param)


@pytest.fixture
def workflow(handler_registry: HandlerRegistry, suffix: str) -> Iterator[Workflow]:
    made = Workflow(handler_registry, "domain_events", TEMPLATES[suffix])
    PublisherRegistry.reset()
    publishers.register(PACKAGES[suffix])
    yield made
    PublisherRegistry.reset()


def run(workflow: Workflow, suffix: str, step: str, **changes: Any) -> StepRun:
    return workflow.run(f"domain_events_py_{step}{suffix}", input_data={**ORDER, **changes})


def events_of(workflow: Workflow, suffix: str, step: str, ended: StepRun) -> list[dict[str, Any]]:
    """Return what the end of a step publishes."""
    definition = workflow.steps[f"domain_events_py_{step}{suffix}"]
    payload = step_event(definition["name"], input_data=ORDER).task_sequence_step
    payload["step_definition"]["publishes_events"] = definition["publishes_events"]
    payload["task"]["namespace_name"] = workflow.template["namespace_name"]
    events: list[dict[str, Any]] = []
    publish_step_events(payload, ended.stored, events.append)
    for event in events:
        required = definition["publishes_events"][event["declaration"]]["schema"]["required"]
        assert set(required) <= set(event["payload"])
    return events


STEPS = ("validate_order", "process_payment", "update_inventory", "send_notification")


def test_the_template_is_a_chain_of_four_steps(workflow: Workflow, suffix: str) -> None:
    names = [f"domain_events_py_{step}{suffix}" for step in STEPS]
    assert list(workflow.steps) == names
    assert [step["dependencies"] for step in workflow.steps.values()] == [
        [],
        *([name] for name in names[:-1]),
    ]
    assert workflow.template["namespace_name"] == PACKAGES[suffix]


def test_an_order_is_validated(workflow: Workflow, suffix: str) -> None:
    result = run(workflow, suffix, "validate_order").assert_success()
    assert result.pop("validation_timestamp")
    assert result == {
        "order_id": ORDER["order_id"],
        "validation_checks": ["order_id_present", "customer_id_present", "amount_positive"],
        "validated": True,
    }


def test_an_order_without_id_gets_one(workflow: Workflow, suffix: str) -> None:
    result = run(workflow, suffix, "validate_order", order_id=None).assert_success()
    assert len(result["order_id"]) == len(str(ORDER["order_id"]))


@pytest.mark.parametrize("amount", [0, -1, None])
def test_an_order_without_amount_is_refused_in_strict_mode(
    workflow: Workflow, suffix: str, amount: Any
) -> None:
    refused = run(workflow, suffix, "validate_order", amount=amount)
    refused.assert_failure("ValidationError", retryable=False)
    assert refused.error_message == "Amount must be positive in strict mode"


def test_a_payment_is_taken(workflow: Workflow, suffix: str) -> None:
    result = run(workflow, suffix, "process_payment").assert_success()
    assert result["transaction_id"].startswith("TXN-")
    assert (result["amount"], result["payment_method"], result["status"]) == (
        120.5,
        "credit_card",
        "success",
    )


def test_a_payment_fails_if_it_is_told_to(workflow: Workflow, suffix: str) -> None:
    failed = run(workflow, suffix, "process_payment", simulate_failure=True)
    failed.assert_failure("PaymentError", retryable=True)
    assert failed.error_message == "Simulated payment failure"
    assert failed.metadata["custom"]["order_id"] == ORDER["order_id"]
    assert "failed_at" in failed.metadata["custom"]


def test_the_goods_are_taken_from_the_stock(workflow: Workflow, suffix: str) -> None:
    result = run(workflow, suffix, "update_inventory").assert_success()
    assert result.pop("updated_at")
    assert result == {
        "order_id": ORDER["order_id"],
        "items": [{"sku": "ITEM-001", "quantity": 1}, {"sku": "ITEM-002", "quantity": 2}],
        "success": True,
    }


def test_an_order_that_nobody_knows_is_unknown(workflow: Workflow, suffix: str) -> None:
    result = run(workflow, suffix, "update_inventory", order_id=None).assert_success()
    assert result["order_id"] == "unknown"


@pytest.mark.parametrize(
    ("customer", "recipient"), [("customer-7", "customer-7"), (None, "unknown")]
)
def test_the_customer_is_told(
    workflow: Workflow, suffix: str, customer: Any, recipient: str
) -> None:
    result = run(workflow, suffix, "send_notification", customer_id=customer).assert_success()
    assert result["notification_id"].startswith("NOTIF-")
    assert (result["channel"], result["recipient"], result["status"]) == (
        "email",
        recipient,
        "delivered",
    )


@pytest.mark.parametrize("suffix", [CLASSES])
@pytest.mark.parametrize(
    ("step", "setting", "value"),
    [
        ("validate_order", "validation_mode", "strict"),
        ("process_payment", "payment_provider", "mock"),
        ("update_inventory", "inventory_source", "mock"),
        ("send_notification", "notification_type", "email"),
    ],
)
def test_a_class_tells_its_setting_beside_the_result(
    workflow: Workflow, suffix: str, step: str, setting: str, value: str
) -> None:
    assert run(workflow, suffix, step).metadata["custom"] == {setting: value}


@pytest.mark.parametrize("suffix", [CLASSES])
@pytest.mark.parametrize(("environment", "lines"), [("test", 1), ("production", 0)])
def test_a_class_writes_one_line_in_the_test_environment(
    workflow: Workflow,
    suffix: str,
    environment: str,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TASKER_ENV", environment)
    run(workflow, suffix, "update_inventory")
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_successful_order_publishes_one_durable_and_three_fast_events(
    workflow: Workflow, suffix: str
) -> None:
    events = [
        (event["event_name"], event["delivery_mode"])
        for step in STEPS
        for event in events_of(workflow, suffix, step, run(workflow, suffix, step))
    ]
    assert events == [
        ("order.validated", "fast"),
        ("payment.processed", "durable"),
        ("inventory.updated", "fast"),
        ("notification.sent", "fast"),
    ]


def test_a_payment_is_published_by_its_publisher(workflow: Workflow, suffix: str) -> None:
    ended = run(workflow, suffix, "process_payment")
    (event,) = events_of(workflow, suffix, "process_payment", ended)
    assert event["payload"] == {
        "transaction_id": ended.result["transaction_id"],
        "amount": 120.5,
        "payment_method": "credit_card",
    }
    assert event["metadata"]["audience"] == "accounting"
    assert event["metadata"]["namespace"] == PACKAGES[suffix]
    assert event["fired_by"] == f"{PACKAGES[suffix]}.publishers.PaymentEventPublisher"


def test_fix_a_refused_payment_is_published_with_its_error(workflow: Workflow, suffix: str) -> None:
    failed = run(workflow, suffix, "process_payment", simulate_failure=True)
    (event,) = events_of(workflow, suffix, "process_payment", failed)
    assert (event["event_name"], event["delivery_mode"]) == ("payment.failed", "durable")
    assert event["payload"] == {
        "error_code": "PaymentError",
        "error_message": "Simulated payment failure",
    }


def test_a_notification_tells_its_way(workflow: Workflow, suffix: str) -> None:
    ended = run(workflow, suffix, "send_notification")
    (event,) = events_of(workflow, suffix, "send_notification", ended)
    assert event["metadata"]["channel"] == "email"
    assert event["fired_by"] == f"{PACKAGES[suffix]}.publishers.NotificationEventPublisher"
