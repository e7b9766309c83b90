"""A registration that several services take part in, as classes and as functions."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tasker_core.testing import StepRun, run_step, run_task

from tests.python.workflows.user_registration import dsl_handlers, handlers

HERE = Path(__file__).parent
USER = {"email": "ada@example.com", "name": "Ada", "plan": "pro"}
EXISTING = {"email": "existing@example.com", "name": "Existing User", "plan": "free"}

CLASSES = SimpleNamespace(
    suffix="",
    module=handlers,
    template="user_registration_py.yaml",
    create_user_account=handlers.CreateUserAccountHandler,
    setup_billing_profile=handlers.SetupBillingProfileHandler,
    initialize_preferences=handlers.InitializePreferencesHandler,
    send_welcome_sequence=handlers.SendWelcomeSequenceHandler,
    update_user_status=handlers.UpdateUserStatusHandler,
)
FUNCTIONS = SimpleNamespace(
    suffix="_dsl_py",
    module=dsl_handlers,
    template="user_registration_dsl_py.yaml",
    create_user_account=dsl_handlers.create_user_account,
    setup_billing_profile=dsl_handlers.setup_billing_profile,
    initialize_preferences=dsl_handlers.initialize_preferences,
    send_welcome_sequence=dsl_handlers.send_welcome_sequence,
    update_user_status=dsl_handlers.update_user_status,
)


@pytest.fixture(params=[CLASSES, FUNCTIONS], ids=["classes", "functions"])
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


def register(family: Any, **changes: Any) -> dict[str, Any]:
    """What the steps of a whole registration return, by their names without suffix."""
    task = run_task(
        HERE / family.template,
        input_data={"user_info": {**USER, **changes}},
        handlers=family.module,
    )
    return {
        step.removesuffix(family.suffix): result for step, result in task.assert_complete().items()
    }


def run(
    family: Any, step: str, user_info: Any = USER, results: dict[str, Any] | None = None
) -> StepRun:
    return run_step(
        getattr(family, step),
        input_data={"user_info": user_info},
        dependency_results={
            f"{name}{family.suffix}": result for name, result in (results or {}).items()
        },
    )


def refused(family: Any, run: StepRun, code: str, message: str) -> None:
    """A class tells the code as a code, a function as the type of the error."""
    if family is CLASSES:
        run.assert_failure("handler_error", retryable=False)
        assert run.metadata["error_code"] == code
    else:
        run.assert_failure(code, retryable=False)
        assert run.metadata["error_code"] is None
    assert run.error_message == message


def test_an_account_is_created(family: Any) -> None:
    account = register(family)["create_user_account"]
    assert re.fullmatch(r"user_[0-9a-f]{12}", account.pop("user_id"))
    assert datetime.fromisoformat(account.pop("created_at"))
    assert account == {
        "email": "ada@example.com",
        "name": "Ada",
        "plan": "pro",
        "phone": None,
        "source": "web",
        "status": "created",
    }


def test_an_account_without_a_plan_is_free(family: Any) -> None:
    assert register(family, plan=None)["create_user_account"]["plan"] == "free"


@pytest.mark.parametrize(
    ("user_info", "code", "message"),
    [
        (None, "MISSING_EMAIL", "Email is required but was not provided"),
        ({"name": "Ada"}, "MISSING_EMAIL", "Email is required but was not provided"),
        ({"email": "a@b.c"}, "MISSING_NAME", "Name is required but was not provided"),
        (
            {"email": "ada@example", "name": "Ada"},
            "INVALID_EMAIL_FORMAT",
            "Invalid email format: ada@example",
        ),
        (
            {**EXISTING, "plan": "pro"},
            "USER_CONFLICT",
            "User with email existing@example.com already exists with different data",
        ),
    ],
)
def test_an_account_can_be_refused(family: Any, user_info: Any, code: str, message: str) -> None:
    refused(family, run(family, "create_user_account", user_info), code, message)


def test_an_account_that_exists_already_is_returned(family: Any) -> None:
    assert run(family, "create_user_account", EXISTING).assert_success() == {
        "user_id": "user_existing_001",
        "email": "existing@example.com",
        "plan": "free",
        "status": "already_exists",
        "created_at": "2025-01-01T00:00:00Z",
    }


def test_a_class_tells_that_nothing_had_to_be_done() -> None:
    existing = run(CLASSES, "create_user_account", EXISTING)
    assert existing.metadata["custom"]["idempotent"] is True
    assert "idempotent" not in run(CLASSES, "create_user_account").metadata["custom"]


@pytest.mark.parametrize(
    ("plan", "cost", "features"),
    [
        ("pro", 29.99, ["basic_features", "advanced_analytics"]),
        (
            "enterprise",
            299.99,
            ["basic_features", "advanced_analytics", "priority_support", "custom_integrations"],
        ),
    ],
)
def test_a_plan_that_costs_something_is_billed(
    family: Any, plan: str, cost: float, features: list[str]
) -> None:
    results = register(family, plan=plan)
    billing = results["setup_billing_profile"]
    assert re.fullmatch(r"billing_[0-9a-f]{12}", billing.pop("billing_id"))
    created = datetime.fromisoformat(billing.pop("created_at"))
    next_date = datetime.fromisoformat(billing.pop("next_billing_date"))
    assert next_date - created == timedelta(days=30)
    assert billing == {
        "user_id": results["create_user_account"]["user_id"],
        "plan": plan,
        "price": cost,
        "currency": "USD",
        "billing_cycle": "monthly",
        "features": features,
        "status": "active",
    }


@pytest.mark.parametrize("plan", ["free", "gold"])
def test_a_free_or_unknown_plan_is_not_billed(family: Any, plan: str) -> None:
    results = register(family, plan=plan)
    assert results["setup_billing_profile"] == {
        "user_id": results["create_user_account"]["user_id"],
        "plan": plan,
        "billing_required": False,
        "status": "skipped_free_plan",
        "message": "Free plan users do not require billing setup",
    }


@pytest.mark.parametrize("step", ["setup_billing_profile", "initialize_preferences"])
def test_billing_and_preferences_need_an_account(family: Any, step: str) -> None:
    refused(
        family,
        run(family, step),
        "MISSING_USER_DATA",
        "User data not found from create_user_account step",
    )


FREE = {
    "email_notifications": True,
    "marketing_emails": False,
    "product_updates": True,
    "weekly_digest": False,
    "theme": "light",
    "language": "en",
    "timezone": "UTC",
}
PRO = {
    **FREE,
    "marketing_emails": True,
    "weekly_digest": True,
    "theme": "dark",
    "api_notifications": True,
}


@pytest.mark.parametrize(
    ("plan", "preferences"),
    [
        ("free", FREE),
        ("pro", PRO),
        ("enterprise", {**PRO, "audit_logs": True, "advanced_reports": True}),
    ],
)
def test_each_plan_has_its_preferences(family: Any, plan: str, preferences: dict[str, Any]) -> None:
    given = register(family, plan=plan)["initialize_preferences"]
    assert re.fullmatch(r"prefs_[0-9a-f]{12}", given["preferences_id"])
    assert given["preferences"] == preferences
    assert (given["plan"], given["status"]) == (plan, "active")
    assert (given["defaults_applied"], given["customizations"]) == (len(preferences), 0)


def test_the_users_own_preferences_win(family: Any) -> None:
    given = register(family, preferences={"theme": "blue", "font": "big"})["initialize_preferences"]
    assert given["preferences"] == {**PRO, "theme": "blue", "font": "big"}
    assert given["customizations"] == 2


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({"plan": "free"}, ["email", "in_app"]),
        ({"plan": "pro"}, ["email", "in_app"]),
        ({"plan": "enterprise"}, ["email", "in_app", "sms"]),
        ({"preferences": {"email_notifications": False}}, ["in_app"]),
    ],
)
def test_the_user_is_welcomed_on_all_channels(
    family: Any, changes: dict[str, Any], channels: list[str]
) -> None:
    welcome = register(family, **changes)["send_welcome_sequence"]
    assert re.fullmatch(r"welcome_[0-9a-f]{12}", welcome["welcome_sequence_id"])
    assert (welcome["channels_used"], welcome["messages_sent"]) == (channels, len(channels))
    assert welcome["status"] == "sent"


def test_a_welcome_needs_all_earlier_results(family: Any) -> None:
    results = {"setup_billing_profile": {"status": "active"}}
    missing = f"create_user_account{family.suffix}, initialize_preferences{family.suffix}"
    refused(
        family,
        run(family, "send_welcome_sequence", results=results),
        "MISSING_DEPENDENCY_DATA",
        f"Missing results from steps: {missing}",
    )


@pytest.mark.parametrize(("plan", "count"), [("free", 7), ("pro", 8), ("enterprise", 10)])
def test_the_account_becomes_active(family: Any, plan: str, count: int) -> None:
    results = register(family, plan=plan)
    done = results["update_user_status"]
    account, billing = results["create_user_account"], results["setup_billing_profile"]
    expected = {
        "user_id": account["user_id"],
        "email": "ada@example.com",
        "plan": plan,
        "registration_status": "complete",
        "preferences_count": count,
        "welcome_sent": True,
        "notification_channels": results["send_welcome_sequence"]["channels_used"],
        "user_created_at": account["created_at"],
        "registration_completed_at": done["activation_timestamp"],
    }
    if plan != "free":
        expected["billing_id"] = billing["billing_id"]
        expected["next_billing_date"] = billing["next_billing_date"]
    assert done == {
        "user_id": account["user_id"],
        "status": "active",
        "plan": plan,
        "registration_summary": expected,
        "activation_timestamp": done["activation_timestamp"],
        "all_services_coordinated": True,
        "services_completed": [
            "user_service",
            "billing_service",
            "preferences_service",
            "notification_service",
        ],
    }


def test_an_account_becomes_active_only_after_everything(family: Any) -> None:
    results = register(family)
    del results["send_welcome_sequence"]
    refused(
        family,
        run(family, "update_user_status", results=results),
        "INCOMPLETE_WORKFLOW",
        "Cannot complete registration: missing results from steps: "
        f"send_welcome_sequence{family.suffix}",
    )
