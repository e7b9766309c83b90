"""A registration that several services take part in: handlers as functions."""

from collections.abc import Callable

from tasker_core import StepHandlerResult
from tasker_core.step_handler import depends_on, inputs, step_handler

from . import services
from .services import Data, RegistrationRefusedError

_MODULE = "microservices_dsl_py.step_handlers"


def _answer(serve: Callable[[], Data]) -> Data | StepHandlerResult:
    try:
        return serve()
    except RegistrationRefusedError as refused:
        return StepHandlerResult.failure(str(refused), refused.code, retryable=False)


@step_handler(f"{_MODULE}.create_user_account")
@inputs("user_info")
def create_user_account(user_info: Data | None) -> Data | StepHandlerResult:
    """Create the account."""
    return _answer(lambda: services.create_account(user_info))


@step_handler(f"{_MODULE}.setup_billing_profile")
@depends_on(account="create_user_account_dsl_py")
def setup_billing_profile(account: Data | None) -> Data | StepHandlerResult:
    """Set up billing for plans that cost something."""
    return _answer(lambda: services.set_up_billing(account))


@step_handler(f"{_MODULE}.initialize_preferences")
@depends_on(account="create_user_account_dsl_py")
@inputs("user_info")
def initialize_preferences(
    account: Data | None, user_info: Data | None
) -> Data | StepHandlerResult:
    """Give the account its preferences."""
    return _answer(lambda: services.initialize_preferences(account, user_info))


@step_handler(f"{_MODULE}.send_welcome_sequence")
@depends_on(
    account="create_user_account_dsl_py",
    billing="setup_billing_profile_dsl_py",
    preferences="initialize_preferences_dsl_py",
)
def send_welcome_sequence(
    account: Data | None, billing: Data | None, preferences: Data | None
) -> Data | StepHandlerResult:
    """Welcome the user on all channels."""
    results = {
        "create_user_account_dsl_py": account,
        "setup_billing_profile_dsl_py": billing,
        "initialize_preferences_dsl_py": preferences,
    }
    return _answer(lambda: services.send_welcome(results))


@step_handler(f"{_MODULE}.update_user_status")
@depends_on(
    account="create_user_account_dsl_py",
    billing="setup_billing_profile_dsl_py",
    preferences="initialize_preferences_dsl_py",
    welcome="send_welcome_sequence_dsl_py",
)
def update_user_status(
    account: Data | None, billing: Data | None, preferences: Data | None, welcome: Data | None
) -> Data | StepHandlerResult:
    """Make the account active."""
    results = {
        "create_user_account_dsl_py": account,
        "setup_billing_profile_dsl_py": billing,
        "initialize_preferences_dsl_py": preferences,
        "send_welcome_sequence_dsl_py": welcome,
    }
    return _answer(lambda: services.activate(results))
