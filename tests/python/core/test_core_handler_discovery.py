"""How the handlers of a worker are found: in packages, and through templates (§11)."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tasker_core import HandlerRegistry
from tasker_core.testing import step_context

from tests.python.core.test_core_handler_registry import NeedsSettings, Orders, module_with


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with handlers, one module that breaks, and a sub-package."""
    name = "discovered_shop"
    handler = (
        "from tasker_core import StepHandler\n"
        "class {0}(StepHandler):\n"
        "    handler_name = '{0}'\n"
        "    def call(self, context):\n"
        "        return self.success({{'by': '{0}'}})\n"
    )
    files = {
        "__init__.py": handler.format("Root"),
        "orders.py": handler.format("Orders"),
        "broken.py": "1 / 0\n",
        "__main__.py": "raise SystemExit('the program must not run')\n",
        "deep/__init__.py": "",
        "deep/prices.py": handler.format("Prices") + "from discovered_shop.orders import Orders\n",
    }
    for file, text in files.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield_name = name
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    return yield_name


@pytest.fixture(autouse=True)
def _forget_the_package() -> Any:
    yield
    for module in [m for m in sys.modules if m.split(".")[0] == "discovered_shop"]:
        del sys.modules[module]


def test_discovery_goes_through_the_whole_package(registry: HandlerRegistry, package: str) -> None:
    # Orders counts twice: the sub-package exports it again.
    assert registry.discover_handlers(package) == 4
    assert set(registry.list_handlers()) == {"Root", "Orders", "Prices"}
    assert registry.resolve("Prices").call(None).result == {"by": "Prices"}


def test_discovery_in_a_plain_module(registry: HandlerRegistry, package: str) -> None:
    assert registry.discover_handlers(f"{package}.orders") == 1


def test_discovery_with_a_base_nobody_extends(registry: HandlerRegistry, package: str) -> None:
    assert registry.discover_handlers(package, base_class=NeedsSettings) == 0


@pytest.mark.parametrize("name", ["no_such_package", "tasker_core.types"])
def test_nothing_is_discovered_where_nothing_is(registry: HandlerRegistry, name: str) -> None:
    assert registry.discover_handlers(name) == 0


# §15.2: non-import errors of the root package escape.


def test_a_package_that_breaks_is_logged_and_skipped(
    registry: HandlerRegistry, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert registry.discover_handlers(f"{package}.broken") == 0
    assert "ZeroDivisionError" in caplog.text


def test_discovery_overrides_earlier_registrations(registry: HandlerRegistry, package: str) -> None:
    registry.register("Orders", Orders)
    registry.discover_handlers(package)
    assert registry.get_handler_class("Orders") is not Orders


# Bootstrap


def template(folder: Path, *callables: str) -> None:
    lines = ["name: t", "namespace_name: shop", "version: 1.0.0", "steps:"]
    for number, text in enumerate(callables):
        lines += [f"  - name: s{number}", f"    handler: {{callable: {text}}}"]
    (folder / "t.yaml").write_text("\n".join(lines))


def test_handlers_are_found_through_templates(
    registry: HandlerRegistry, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(
        tmp_path,
        f"{package}.orders.Orders",
        f"{package}.orders.StepHandler",
        f"{package}.orders.missing",
        f"{package}.broken.Handler",
        "no.such.Handler",
        "plain_name",
    )
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path))
    assert registry.bootstrap_handlers() == 1
    assert registry.list_handlers() == ["Orders"]
    assert registry._bootstrapped is True


def test_fix_decorated_functions_are_found_through_templates(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They had to be registered by hand; a template may name them by their path, too."""
    (tmp_path / "found_functions.py").write_text(
        "from tasker_core.step_handler import step_handler\n\n"
        "@step_handler('found_functions.ship')\ndef ship(): return {'by': 'ship'}\n\n"
        "@step_handler('pay')\ndef charge(): return {'by': 'charge'}\n"
    )
    template(tmp_path, "found_functions.ship", "found_functions.charge", "found_functions.nobody")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path))
    assert registry.bootstrap_handlers() == 2
    assert set(registry.list_handlers()) == {
        "pay",
        "found_functions.charge",
        "found_functions.ship",
    }
    for callable_name, result in (
        ("found_functions.ship", {"by": "ship"}),
        ("found_functions.charge", {"by": "charge"}),
        ("pay", {"by": "charge"}),
    ):
        handler = registry.resolve(callable_name)
        assert handler is not None
        assert handler.call(step_context()).result == result


def test_bootstrap_happens_once(registry: HandlerRegistry, tmp_path: Path, package: str) -> None:
    registry.bootstrap_handlers()
    registry.register("orders", Orders)
    assert registry.bootstrap_handlers() == 1


def test_bootstrap_without_templates_finds_nothing_and_says_so(
    registry: HandlerRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.bootstrap_handlers() == 0
    assert "TASKER_TEMPLATE_PATH" in caplog.text


def test_the_test_environment_takes_what_is_loaded(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKER_ENV", "test")
    monkeypatch.setitem(sys.modules, "my_handlers", module_with(Orders=Orders))
    assert registry.bootstrap_handlers() >= 1
    assert registry.is_registered("orders")
    assert registry._test_environment_active() is True


@pytest.mark.parametrize("name", ["_handlers", "builtins_test", "typing_workflow", "my_module"])
def test_other_modules_are_not_taken(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Hidden(Orders):
        handler_name = f"hidden_in_{name}"

    monkeypatch.setitem(sys.modules, name, module_with(Hidden=Hidden))
    registry._register_preloaded_handlers()
    assert not registry.is_registered(f"hidden_in_{name}")


def test_a_loaded_module_that_breaks_is_left_out(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(types.ModuleType):
        def __dir__(self) -> list[str]:
            raise RuntimeError("no")

    monkeypatch.setitem(sys.modules, "breaking_handlers", Breaking("breaking_handlers"))
    monkeypatch.setitem(sys.modules, "fine_handlers", module_with(Orders=Orders))
    assert registry._register_preloaded_handlers() >= 1


def test_the_test_environment_falls_back_to_templates(
    registry: HandlerRegistry, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(tmp_path, f"{package}.orders.Orders")
    monkeypatch.setenv("TASKER_ENV", "test")
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path))
    monkeypatch.setattr(registry, "_register_preloaded_handlers", lambda: 0)
    assert registry.bootstrap_handlers() == 1


# Where templates are looked for


def test_a_template_path_of_the_environment_must_be_a_directory(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path / "missing"))
    assert registry._determine_template_path() is None
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path))
    assert registry._determine_template_path() == tmp_path


def test_the_test_environment_has_its_own_templates(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasker_core import TemplatePath

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKER_ENV", "test")
    monkeypatch.setattr(TemplatePath, "_find_test_template_path", staticmethod(lambda: tmp_path))
    assert registry._determine_template_path() == tmp_path
    monkeypatch.setattr(TemplatePath, "_find_test_template_path", staticmethod(lambda: None))
    assert registry._determine_template_path() is None


def test_what_the_registry_tells_about_discovery(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template(tmp_path, "shop.Orders")
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(tmp_path))
    monkeypatch.setenv("TASKER_ENV", "production")
    assert registry.template_discovery_info() == {
        "template_path": str(tmp_path),
        "template_files": [str(tmp_path / "t.yaml")],
        "discovered_handlers": ["shop.Orders"],
        "handlers_by_namespace": {"shop": ["shop.Orders"]},
        "environment": "production",
        "bootstrapped": False,
    }


def test_what_the_registry_tells_without_templates(
    registry: HandlerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.template_discovery_info() == {
        "template_path": None,
        "template_files": [],
        "discovered_handlers": [],
        "handlers_by_namespace": {},
        "environment": "development",
        "bootstrapped": False,
    }


@pytest.mark.parametrize("text", ["", "plain", "no.such.Handler", "os.path.join", "os.sep"])
def test_callables_that_are_no_handler_classes_load_nothing(
    registry: HandlerRegistry, text: str
) -> None:
    assert registry._find_and_load_handler_class(text) is None
