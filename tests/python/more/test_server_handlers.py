"""How the server finds and imports handlers."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from tasker_core import HandlerDiscovery, HandlerRegistry
from tasker_core.bin import server

CLASS = """
from tasker_core import StepHandler


class {name}(StepHandler):
    handler_name = "{name}"

    def call(self, context):
        return self.success()
"""
FUNCTION = """
from tasker_core.step_handler.functional import step_handler


@step_handler("decorated")
def decorated():
    return {}
"""


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of handlers; what is imported from it is forgotten after the test."""
    folder = tmp_path / "server_test_handlers"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHON_HANDLER_PATH", str(folder))
    HandlerRegistry.reset_instance()
    yield folder
    for name in [*loaded(), "orders"]:
        sys.modules.pop(name, None)
    HandlerRegistry.reset_instance()


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text))


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("server_test_handlers")}


def test_a_package_is_imported_with_everything_in_it(handlers: Path) -> None:
    write(handlers / "__init__.py", "")
    write(handlers / "orders.py", "")
    write(handlers / "shop" / "__init__.py", "")
    write(handlers / "shop" / "pay.py", "")
    server._import_handlers_from_path(str(handlers))
    assert loaded() == {
        "server_test_handlers",
        "server_test_handlers.orders",
        "server_test_handlers.shop",
        "server_test_handlers.shop.pay",
    }


def test_names_with_an_underscore_and_folders_without_init_are_passed_over(
    handlers: Path,
) -> None:
    write(handlers / "__init__.py", "")
    write(handlers / "_private.py", "")
    write(handlers / "_hidden" / "__init__.py", "")
    write(handlers / "data" / "orders.py", "")
    write(handlers / "notes.txt", "")
    server._import_handlers_from_path(str(handlers))
    assert loaded() == {"server_test_handlers"}


def test_a_package_is_in_the_modules_while_it_is_executed(handlers: Path) -> None:
    write(handlers / "__init__.py", "from . import orders\nSEEN = orders.SEEN")
    write(handlers / "orders.py", "import sys\nSEEN = 'server_test_handlers' in sys.modules")
    server._import_handlers_from_path(str(handlers))
    assert sys.modules["server_test_handlers"].SEEN is True


def test_a_folder_that_is_no_package_gives_its_modules(handlers: Path) -> None:
    write(handlers / "orders.py", "from .prices import PRICE")
    write(handlers / "prices.py", "PRICE = 7")
    server._import_handlers_from_path(str(handlers))
    assert sys.modules["server_test_handlers.orders"].PRICE == 7


def test_a_module_that_the_package_has_imported_is_executed_once(handlers: Path) -> None:
    """Modules that a package's own __init__ had imported were executed again."""
    write(handlers / "__init__.py", "COUNT = []\nfrom . import orders")
    write(handlers / "orders.py", "from . import COUNT\nCOUNT.append(1)")
    server._import_handlers_from_path(str(handlers))
    assert sys.modules["server_test_handlers"].COUNT == [1]


def test_a_package_that_is_imported_already_is_not_executed_again(handlers: Path) -> None:
    write(handlers / "__init__.py", "")
    write(handlers / "orders.py", "")
    server._import_handlers_from_path(str(handlers))
    orders = sys.modules["server_test_handlers.orders"]
    server._import_handlers_from_path(str(handlers))
    assert sys.modules["server_test_handlers.orders"] is orders


def test_a_package_of_the_same_name_elsewhere_is_replaced(handlers: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / handlers.name
    write(other / "old.py", "")
    write(handlers / "new.py", "")
    server._import_handlers_from_path(str(other))
    server._import_handlers_from_path(str(handlers))
    assert loaded() == {"server_test_handlers", "server_test_handlers.new"}


@pytest.mark.parametrize("problem", ["import no_such_module_at_all", "raise SystemExit(3)", "x ="])
def test_a_broken_module_is_left_out_with_a_warning(
    handlers: Path, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    """Why a module was left out could be seen at debug level only, and half of it stayed."""
    write(handlers / "__init__.py", "")
    write(handlers / "broken.py", problem)
    write(handlers / "orders.py", "")
    with caplog.at_level(logging.INFO, "python-worker"):
        server._import_handlers_from_path(str(handlers))
    assert loaded() == {"server_test_handlers", "server_test_handlers.orders"}
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["server_test_handlers.broken" in record.getMessage() for record in warnings] == [True]


def test_a_broken_package_leaves_its_modules(
    handlers: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(handlers / "__init__.py", "raise KeyError('x')")
    write(handlers / "orders.py", "")
    server._import_handlers_from_path(str(handlers))
    assert "server_test_handlers.orders" in loaded()
    assert "Package server_test_handlers is left out" in caplog.text


def test_a_broken_subpackage_is_left_out(handlers: Path) -> None:
    write(handlers / "shop" / "__init__.py", "raise KeyError('x')")
    write(handlers / "shop" / "pay.py", "")
    write(handlers / "stock.py", "")
    server._import_handlers_from_path(str(handlers))
    assert loaded() == {"server_test_handlers", "server_test_handlers.stock"}


def test_what_is_imported_is_logged(handlers: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(handlers / "__init__.py", "")
    write(handlers / "orders.py", "")
    with caplog.at_level(logging.INFO, "python-worker"):
        server._import_handlers_from_path(str(handlers))
    assert [record.getMessage() for record in caplog.records] == [
        "  Imported package: server_test_handlers",
        "  Imported module: server_test_handlers.orders",
    ]


@pytest.mark.parametrize("name", ["json", "tasker_core"])
def test_a_folder_named_like_a_module_that_is_needed_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    write(tmp_path / name / "__init__.py", "raise KeyError('x')")
    needed = sys.modules[name]
    server._import_handlers_from_path(str(tmp_path / name))
    assert sys.modules[name] is needed
    assert "rename the folder" in caplog.text


def test_the_folder_is_put_on_the_path_once(handlers: Path) -> None:
    server.initialize_handler_registry()
    server.initialize_handler_registry()
    assert sys.path[0] == str(handlers)
    assert sys.path.count(str(handlers)) == 1


@pytest.mark.parametrize("environment", ["test", "production"])
def test_imported_handlers_are_entered(
    handlers: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    """Outside the test environment decorated functions could not be found."""
    monkeypatch.setenv("TASKER_ENV", environment)
    write(handlers / "orders.py", CLASS.format(name="ServerTestOrder"))
    write(handlers / "functions.py", FUNCTION)
    count = server.initialize_handler_registry()
    registry = HandlerRegistry.instance()
    assert registry.is_registered("ServerTestOrder")
    assert registry.is_registered("decorated")
    assert count == registry.handler_count()


def test_handlers_that_templates_name_are_entered(
    handlers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(handlers / "orders.py", CLASS.format(name="ServerTestOrder"))
    template = "steps: [{handler: {callable: orders.ServerTestOrder}}]"
    write(tmp_path / "templates" / "order.yaml", template)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path / "templates"))
    assert HandlerDiscovery.discover_all_handlers(tmp_path / "templates")
    server.initialize_handler_registry()
    assert HandlerRegistry.instance().is_registered("ServerTestOrder")


def test_the_handlers_are_logged(handlers: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(handlers / "orders.py", CLASS.format(name="ServerTestOrder"))
    with caplog.at_level(logging.INFO, "python-worker"):
        server.initialize_handler_registry()
    assert "ServerTestOrder" in caplog.records[-1].getMessage()


def test_a_handler_path_that_is_no_directory_is_warned_of(
    handlers: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler path that did not exist was passed over without a word."""
    monkeypatch.setenv("PYTHON_HANDLER_PATH", str(handlers / "missing"))
    server.initialize_handler_registry()
    assert "is not a directory" in caplog.text
    assert str(handlers / "missing") not in sys.path


def test_without_a_handler_path_nothing_is_imported(
    handlers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHON_HANDLER_PATH")
    write(handlers / "orders.py", "")
    server.initialize_handler_registry()
    assert loaded() == set()
