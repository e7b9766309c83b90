"""Tests of the steps and of the whole workflow. Run them with: taskerpy test"""

from pathlib import Path

import pytest
from tasker_core.testing import run_step, run_task

import handlers

HERE = Path(__file__).parent
TEMPLATE = HERE / "templates" / "checkout.yaml"
MUGS = {"sku": "mug", "price_cents": 1250, "quantity": 2}


def test_the_total_is_goods_and_shipping() -> None:
    task = run_task(TEMPLATE, handlers=handlers, input_data={"items": [MUGS]})
    assert task.assert_complete()["total"] == {"cents": 2500 + 490}


def test_an_empty_cart_stops_the_workflow() -> None:
    task = run_task(TEMPLATE, handlers=handlers, input_data={"items": []})
    assert task.status == "blocked_by_failures"
    assert task.steps["check_cart"].attempts == 1


@pytest.mark.parametrize(("count", "cents"), [(3, 490), (4, 990)])
def test_shipping_depends_on_how_many_pieces_there_are(count: int, cents: int) -> None:
    step = run_step(handlers.price_shipping, dependency_results={"check_cart": {"count": count}})
    assert step.assert_success() == {"cents": cents}
