"""Where tests of programs put their mocks (python-api-core §14.1, python-api-more §0)."""

import importlib
from typing import Any
from unittest import mock

import pytest
from tasker_core import ApiHandler, EventBridge, EventPoller
from tasker_core.domain_events import BaseSubscriber, DefaultPublisher


@pytest.mark.parametrize(
    "target",
    """
    tasker_core.domain_events.log_debug
    tasker_core.domain_events.log_error
    tasker_core.domain_events.log_info
    tasker_core.domain_events.log_warn
    tasker_core.domain_events.threading.Thread
    tasker_core.domain_events.time.sleep
    tasker_core.event_bridge.EventEmitter
    tasker_core.event_bridge.log_info
    tasker_core.event_bridge.log_warn
    tasker_core.event_poller.log_info
    tasker_core.event_poller.threading.Thread
    tasker_core.event_poller.time.sleep
    tasker_core.handler.importlib.import_module
    tasker_core.handler.log_info
    tasker_core.handler.os.environ
    tasker_core.handler.sys.modules
    tasker_core.observability.log_debug
    tasker_core.registry.resolver_chain.log_debug
    tasker_core.registry.resolvers.class_lookup.importlib.import_module
    tasker_core.step_execution_subscriber.asyncio.run
    tasker_core.step_execution_subscriber.log_debug
    tasker_core.step_execution_subscriber.log_error
    tasker_core.step_execution_subscriber.time
    tasker_core.step_execution_subscriber.traceback
    tasker_core.step_handler.functional.asyncio.iscoroutinefunction
    tasker_core.step_handler.mixins.api.httpx.Client
    tasker_core.template_discovery.os.environ
    tasker_core.template_discovery.yaml.safe_load
    tasker_core.worker.log_info
    """.split(),
)
def test_a_mock_can_be_put_where_the_published_package_has_a_name(target: str) -> None:
    with mock.patch(target) as put:
        assert put is not None


@pytest.mark.parametrize("module", ["event_poller", "step_handler.mixins.api"])
def test_other_names_of_these_modules_are_still_unknown(module: str) -> None:
    found = importlib.import_module(f"tasker_core.{module}")
    with pytest.raises(AttributeError, match="has no attribute 'nothing_like_this'"):
        _ = found.nothing_like_this


class Api(ApiHandler):
    handler_name = "api"
    base_url = "https://example.test"

    def call(self, context: Any) -> Any:
        return self.success()


def test_a_client_that_replaces_httpx_is_used() -> None:
    with mock.patch("tasker_core.step_handler.mixins.api.httpx.Client") as client:
        assert Api().client is client.return_value
    client.assert_called_once_with(base_url="https://example.test", timeout=30.0, headers={})


def test_a_module_that_replaces_httpx_is_used() -> None:
    with mock.patch("tasker_core.step_handler.mixins.api.httpx") as httpx:
        assert Api().client is httpx.Client.return_value


def test_an_emitter_that_replaces_pyees_is_used() -> None:
    with mock.patch("tasker_core.event_bridge.EventEmitter") as emitter:
        assert EventBridge()._emitter is emitter.return_value


def test_a_poller_that_is_stopped_joins_its_thread_with_the_timeout_by_name() -> None:
    poller = EventPoller()
    thread = mock.Mock()
    poller._running, poller._thread = True, thread
    poller.stop(timeout=0.5)
    thread.join.assert_called_once_with(timeout=0.5)
    assert poller._thread is None


def test_lines_about_domain_events_go_where_the_mock_is() -> None:
    class Ledger(BaseSubscriber):
        @classmethod
        def subscribes_to(cls) -> list[str]:
            return ["*"]

        def handle(self, event: dict[str, Any]) -> None:
            """Take it."""

    with mock.patch("tasker_core.domain_events.log_error") as log_error:
        Ledger().on_handle_error({"event_name": "a.b"}, ValueError("no"))
        DefaultPublisher().on_publish_error("a.b", ValueError("no"), {})
    assert [call.args[0] for call in log_error.call_args_list] == [
        "Ledger: Failed to handle event a.b: no",
        "DefaultPublisher: a.b was not published: ValueError: no",
    ]
