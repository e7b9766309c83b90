"""The services that a registration goes through, and what they refuse."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import uuid4

Data = dict[str, Any]

_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_FREE = "free"
_BILLING_DAYS = 30
_EXISTING = {
    "user_id": "user_existing_001",
    "email": "existing@example.com",
    "name": "Existing User",
    "plan": _FREE,
    "created_at": "2025-01-01T00:00:00Z",
}


class _Plan(NamedTuple):
    price: float
    features: list[str]
    preferences: Data


_FREE_PREFERENCES = {
    "email_notifications": True,
    "marketing_emails": False,
    "product_updates": True,
    "weekly_digest": False,
    "theme": "light",
    "language": "en",
    "timezone": "UTC",
}
_PRO_PREFERENCES = {
    **_FREE_PREFERENCES,
    "marketing_emails": True,
    "weekly_digest": True,
    "theme": "dark",
    "api_notifications": True,
}
_PLANS = {
    _FREE: _Plan(0, ["basic_features"], _FREE_PREFERENCES),
    "pro": _Plan(29.99, ["basic_features", "advanced_analytics"], _PRO_PREFERENCES),
    "enterprise": _Plan(
        299.99,
        ["basic_features", "advanced_analytics", "priority_support", "custom_integrations"],
        {**_PRO_PREFERENCES, "audit_logs": True, "advanced_reports": True},
    ),
}


class RegistrationRefusedError(Exception):
    """A service does not go on; no retry can mend it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex[:12]}"


def _plan(name: Any) -> _Plan:
    return _PLANS.get(name, _PLANS[_FREE])


def create_account(user_info: Data | None) -> Data:
    """Return the account of a user, who may have it already."""
    user = user_info or {}
    email, name, plan = user.get("email"), user.get("name"), user.get("plan") or _FREE
    if not email:
        raise RegistrationRefusedError("MISSING_EMAIL", "Email is required but was not provided")
    if not name:
        raise RegistrationRefusedError("MISSING_NAME", "Name is required but was not provided")
    if _EMAIL.match(email) is None:
        raise RegistrationRefusedError("INVALID_EMAIL_FORMAT", f"Invalid email format: {email}")
    if email == _EXISTING["email"]:
        if (name, plan) != (_EXISTING["name"], _EXISTING["plan"]):
            raise RegistrationRefusedError(
                "USER_CONFLICT", f"User with email {email} already exists with different data"
            )
        kept = ("user_id", "email", "plan", "created_at")
        return {**{key: _EXISTING[key] for key in kept}, "status": "already_exists"}
    return {
        "user_id": _new_id("user"),
        "email": email,
        "name": name,
        "plan": plan,
        "phone": user.get("phone"),
        "source": user.get("source") or "web",
        "status": "created",
        "created_at": _now(),
    }


def _account(account: Data | None) -> Data:
    if not account or not account.get("user_id"):
        raise RegistrationRefusedError(
            "MISSING_USER_DATA", "User data not found from create_user_account step"
        )
    return account


def set_up_billing(account: Data | None) -> Data:
    """Return the billing profile of an account that costs something."""
    account = _account(account)
    plan = _plan(account.get("plan"))
    if not plan.price:
        return {
            "user_id": account["user_id"],
            "plan": account.get("plan"),
            "billing_required": False,
            "status": "skipped_free_plan",
            "message": "Free plan users do not require billing setup",
        }
    created = datetime.now(timezone.utc)
    return {
        "billing_id": _new_id("billing"),
        "user_id": account["user_id"],
        "plan": account["plan"],
        "price": plan.price,
        "currency": "USD",
        "billing_cycle": "monthly",
        "features": plan.features,
        "status": "active",
        "next_billing_date": (created + timedelta(days=_BILLING_DAYS)).isoformat(),
        "created_at": created.isoformat(),
    }


def initialize_preferences(account: Data | None, user_info: Data | None) -> Data:
    """Return the plan's preferences with the user's own on top."""
    account = _account(account)
    defaults = _plan(account.get("plan")).preferences
    own = (user_info or {}).get("preferences") or {}
    created = _now()
    return {
        "preferences_id": _new_id("prefs"),
        "user_id": account["user_id"],
        "plan": account.get("plan"),
        "preferences": {**defaults, **own},
        "defaults_applied": len(defaults),
        "customizations": len(own),
        "status": "active",
        "created_at": created,
        "updated_at": created,
    }


def _require(results: Mapping[str, Data | None], code: str, problem: str) -> None:
    missing = [step for step, result in results.items() if not result]
    if missing:
        raise RegistrationRefusedError(code, f"{problem}: {', '.join(missing)}")


def send_welcome(results: Mapping[str, Data | None]) -> Data:
    """Return the welcome; the results are of account, billing and preferences, by step."""
    _require(results, "MISSING_DEPENDENCY_DATA", "Missing results from steps")
    account, _, preferences = (result or {} for result in results.values())
    channels = ["in_app"]
    if (preferences.get("preferences") or {}).get("email_notifications", True):
        channels.insert(0, "email")
    if account.get("plan") == "enterprise":
        channels.append("sms")
    return {
        "user_id": account["user_id"],
        "plan": account.get("plan"),
        "channels_used": channels,
        "messages_sent": len(channels),
        "welcome_sequence_id": _new_id("welcome"),
        "status": "sent",
        "sent_at": _now(),
    }


def activate(results: Mapping[str, Data | None]) -> Data:
    """Return the finished registration; the results are as before, and the welcome."""
    _require(
        results,
        "INCOMPLETE_WORKFLOW",
        "Cannot complete registration: missing results from steps",
    )
    account, billing, preferences, welcome = (result or {} for result in results.values())
    activated = _now()
    summary = {
        "user_id": account["user_id"],
        "email": account["email"],
        "plan": account.get("plan"),
        "registration_status": "complete",
        "preferences_count": len(preferences.get("preferences") or {}),
        "welcome_sent": True,
        "notification_channels": welcome.get("channels_used"),
        "user_created_at": account.get("created_at"),
        "registration_completed_at": activated,
    }
    if billing.get("billing_id"):
        summary["billing_id"] = billing["billing_id"]
        summary["next_billing_date"] = billing["next_billing_date"]
    return {
        "user_id": account["user_id"],
        "status": "active",
        "plan": account.get("plan"),
        "registration_summary": summary,
        "activation_timestamp": activated,
        "all_services_coordinated": True,
        "services_completed": [
            "user_service",
            "billing_service",
            "preferences_service",
            "notification_service",
        ],
    }
