"""A registration that several services take part in: handlers as classes."""

from abc import abstractmethod

from tasker_core import StepContext, StepHandler, StepHandlerResult

from . import services
from .services import Data, RegistrationRefusedError

_MODULE = "microservices.step_handlers"


class _ServiceHandler(StepHandler):
    handler_version = "1.0.0"
    service = ""

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return what the service did, or why it does not go on."""
        try:
            result = self.serve(context)
        except RegistrationRefusedError as refused:
            return self.failure(
                str(refused), "handler_error", retryable=False, error_code=refused.code
            )
        return self.success(result, metadata=self.details(result))

    @abstractmethod
    def serve(self, context: StepContext) -> Data:
        """Do the service's work."""

    def details(self, result: Data) -> Data:
        """Return the metadata of a result."""
        return {"service": self.service, "status": result["status"]}


class CreateUserAccountHandler(_ServiceHandler):
    """Create the account."""

    handler_name = f"{_MODULE}.CreateUserAccountHandler"
    service = "user_service"

    def serve(self, context: StepContext) -> Data:
        """Return the account."""
        return services.create_account(context.get_input("user_info"))

    def details(self, result: Data) -> Data:
        """Tell too whether nothing had to be done."""
        details = super().details(result)
        if result["status"] == "already_exists":
            details["idempotent"] = True
        return details


class SetupBillingProfileHandler(_ServiceHandler):
    """Set up billing for plans that cost something."""

    handler_name = f"{_MODULE}.SetupBillingProfileHandler"
    service = "billing_service"

    def serve(self, context: StepContext) -> Data:
        """Return the billing profile."""
        return services.set_up_billing(context.get_dependency_result("create_user_account"))


class InitializePreferencesHandler(_ServiceHandler):
    """Give the account its preferences."""

    handler_name = f"{_MODULE}.InitializePreferencesHandler"
    service = "preferences_service"

    def serve(self, context: StepContext) -> Data:
        """Return the preferences."""
        return services.initialize_preferences(
            context.get_dependency_result("create_user_account"), context.get_input("user_info")
        )


class SendWelcomeSequenceHandler(_ServiceHandler):
    """Welcome the user on all channels."""

    handler_name = f"{_MODULE}.SendWelcomeSequenceHandler"
    service = "notification_service"

    STEPS = ("create_user_account", "setup_billing_profile", "initialize_preferences")

    def serve(self, context: StepContext) -> Data:
        """Return what was sent."""
        return services.send_welcome(
            {step: context.get_dependency_result(step) for step in self.STEPS}
        )


class UpdateUserStatusHandler(_ServiceHandler):
    """Make the account active."""

    handler_name = f"{_MODULE}.UpdateUserStatusHandler"
    service = "user_service"

    STEPS = (*SendWelcomeSequenceHandler.STEPS, "send_welcome_sequence")

    def serve(self, context: StepContext) -> Data:
        """Return the finished registration."""
        return services.activate({step: context.get_dependency_result(step) for step in self.STEPS})
