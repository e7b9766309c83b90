"""Book seats of a workshop: reserve them, charge for them, and tell the guest.

The seats are kept by a service that is sometimes busy. ``seats`` stands for its
client; tests put another in its place.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.errors import PermanentError, RetryableError
from tasker_core.step_handler import depends_on, inputs, step_handler


class Seats(Protocol):
    """What the service of the seats can do."""

    def reserve(self, workshop: str, count: int) -> str:
        """Reserve seats and return the reservation's number."""


class Busy(Exception):
    """The service has no time right now."""


class SoldOut(Exception):
    """There are not so many seats left."""


@dataclass
class SeatsInMemory:
    """A service for trying things out: every workshop has twelve seats."""

    free: int = 12

    def reserve(self, workshop: str, count: int) -> str:
        """Take seats away."""
        if count > self.free:
            raise SoldOut
        self.free -= count
        return f"{workshop}-{self.free}"


seats: Seats = SeatsInMemory()


class ReserveSeats(StepHandler):
    """Reserve the seats of the task's input."""

    handler_name = "reserve_seats"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Return the reservation. A busy service is asked again later."""
        workshop, count = context.get_input("workshop"), context.get_input_or("count", 1)
        if count > (context.get_config("most") or 4):
            return self.failure(f"{count} seats are too many", "too_many", retryable=False)
        try:
            number = seats.reserve(workshop, count)
        except Busy:
            raise RetryableError("the service is busy", retry_after=5) from None
        except SoldOut:
            raise PermanentError(f"{workshop} is sold out", error_code="SOLD_OUT") from None
        return self.success(
            {"number": number, "count": count}, metadata={"attempt": context.retry_count + 1}
        )


@step_handler("charge_guest")
@depends_on(reservation="reserve_seats")
@inputs("price_cents")
def charge_guest(reservation: dict[str, Any], price_cents: int) -> dict[str, int]:
    """Charge for all seats."""
    return {"cents": reservation["count"] * price_cents}


@step_handler("tell_guest")
@depends_on(reservation="reserve_seats", charge="charge_guest")
def tell_guest(reservation: dict[str, Any], charge: dict[str, int]) -> dict[str, str]:
    """Write what the guest gets to read."""
    euros, cents = divmod(charge["cents"], 100)
    return {"text": f"Reservation {reservation['number']}: {euros}.{cents:02d} EUR"}
