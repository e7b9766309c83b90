"""The server under its two names."""

from unittest import mock

import tasker_core.server
from tasker_core.bin import server


def test_both_names_have_the_same_functions() -> None:
    for name in tasker_core.server.__all__:
        assert getattr(tasker_core.server, name) is getattr(server, name), name


def test_a_mock_put_into_one_is_seen_in_the_other_until_it_is_gone() -> None:
    original = server.main
    with mock.patch("tasker_core.server.main", return_value=7):
        assert server.main() == 7
    assert server.main is original
    assert tasker_core.server.main is original


def test_a_part_that_only_the_other_has_can_be_replaced_here() -> None:
    with mock.patch("tasker_core.server.get_worker_status", side_effect=RuntimeError("gone")):
        assert server.health_check() == {"healthy": False, "error": "gone"}
