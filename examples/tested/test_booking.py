"""Tests of single steps, and of the whole workflow in memory."""

from pathlib import Path

import booking
import pytest
from tasker_core import StepContext
from tasker_core.testing import run_step, run_task

TEMPLATE = Path(__file__).with_name("booking.yaml")
TWO_SEATS = {"workshop": "pottery", "count": 2, "price_cents": 4550}


class Service:
    """The service of the seats, as a test wants it to answer."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def reserve(self, workshop: str, count: int) -> str:
        """Give the next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> None:
    monkeypatch.setattr(booking, "seats", Service(*answers))


# One step: its handler is called with an event as in production.


def test_seats_are_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "pottery-7")
    step = run_step(booking.ReserveSeats, input_data=TWO_SEATS)
    assert step.assert_success() == {"number": "pottery-7", "count": 2}


def test_a_busy_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, booking.Busy())
    step = run_step(booking.ReserveSeats, input_data=TWO_SEATS)
    step.assert_failure("RetryableError", retryable=True)


def test_a_workshop_that_is_sold_out_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, booking.SoldOut())
    step = run_step(booking.ReserveSeats, input_data=TWO_SEATS)
    step.assert_failure("PermanentError", retryable=False)
    assert step.error_message == "pottery is sold out"


@pytest.mark.parametrize(("most", "fits"), [(6, True), (5, False)])
def test_the_template_says_how_many_seats_one_guest_may_have(
    monkeypatch: pytest.MonkeyPatch, most: int, fits: bool
) -> None:
    answering(monkeypatch, "pottery-7")
    step = run_step(
        booking.ReserveSeats, input_data={**TWO_SEATS, "count": 6}, step_config={"most": most}
    )
    assert step.is_success is fits


def test_a_function_gets_the_results_of_earlier_steps() -> None:
    step = run_step(
        booking.tell_guest,
        dependency_results={
            "reserve_seats": {"number": "pottery-7", "count": 2},
            "charge_guest": {"cents": 9105},
        },
    )
    assert step.assert_success() == {"text": "Reservation pottery-7: 91.05 EUR"}


# The whole workflow: its template, with retries, but without waiting.


def test_a_guest_gets_the_seats_though_the_service_was_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, booking.Busy(), booking.Busy(), "pottery-7")
    task = run_task(TEMPLATE, handlers=booking, input_data=TWO_SEATS)
    assert task.assert_complete()["tell_guest"] == {"text": "Reservation pottery-7: 91.00 EUR"}
    assert task.steps["reserve_seats"].attempts == 3


def test_nobody_is_charged_for_a_workshop_that_is_sold_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, booking.SoldOut())
    task = run_task(TEMPLATE, handlers=booking, input_data=TWO_SEATS)
    assert (task.status, task.steps["charge_guest"].attempts) == ("blocked_by_failures", 0)


# Fixtures that taskerpy test brings along.


def test_a_context_can_be_had_from_a_fixture(
    sample_step_context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "none-1")
    assert booking.ReserveSeats().call(sample_step_context).result == {
        "number": "none-1",
        "count": 1,
    }
