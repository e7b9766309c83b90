"""Start, loading and end of the embedded interpreter (taskerpy_host.boot, loader, doctor)."""

import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tasker_core import HandlerRegistry
from taskerpy_host import boot, doctor, loader, streams

HANDLER = """
from tasker_core import StepHandler

class {0}(StepHandler):
    handler_name = "{1}"

    def call(self, context):
        return self.success()
"""


@pytest.fixture(autouse=True)
def _same_interpreter() -> Iterator[None]:
    """Put back what start and loading change in the interpreter."""
    modules, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    level, interval = logging.getLogger().level, sys.getswitchinterval()
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders
    logging.getLogger().setLevel(level)
    sys.setswitchinterval(interval)


# Boot


def test_the_embedded_packages_are_found_in_their_folder_first(tmp_path: Path) -> None:
    (tmp_path / "tasker_core").mkdir()
    (tmp_path / "tasker_core" / "__init__.py").touch()
    finder = boot.EmbeddedFinder(str(tmp_path))
    spec = finder.find_spec("tasker_core")
    assert spec is not None
    assert spec.origin == str(tmp_path / "tasker_core" / "__init__.py")
    assert finder.find_spec("json") is None


def test_an_interpreter_for_lanes_has_the_hosts_streams() -> None:
    with mock.patch.object(streams, "install") as install:
        boot.install("/folder")
    install.assert_called_once_with(logging.DEBUG)
    assert isinstance(sys.meta_path[0], boot.EmbeddedFinder)


def test_an_interpreter_as_a_command_can_be_interrupted() -> None:
    with mock.patch.object(signal, "signal") as handle:
        boot.install_as_command("/folder")
    handle.assert_called_once_with(signal.SIGINT, signal.default_int_handler)
    assert isinstance(sys.meta_path[0], boot.EmbeddedFinder)


def test_an_exception_is_described_for_the_host() -> None:
    try:
        raise ValueError("grün")
    except ValueError as error:
        told = json.loads(boot.describe_exception(error))
    assert (told["type"], told["message"]) == ("ValueError", "grün")
    assert told["traceback"].startswith("Traceback")


def test_settings_are_taken_and_the_python_is_described() -> None:
    answer = json.loads(boot.configure(b'{"log_level": 30, "switch_interval": 0.001}'))
    assert logging.getLogger().level == 30
    assert sys.getswitchinterval() == pytest.approx(0.001)
    assert answer == {
        "version": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "missing": [],
    }


def test_dependencies_that_are_missing_are_named_as_they_are_installed() -> None:
    interval = sys.getswitchinterval()
    with mock.patch.dict(boot.DEPENDENCIES, {"no_such_module_xyz": "no-such-package"}):
        answer = json.loads(boot.configure(b'{"log_level": 10, "switch_interval": null}'))
    assert answer["missing"] == ["no-such-package"]
    assert sys.getswitchinterval() == interval


def test_tools_for_tests_of_the_host() -> None:
    assert boot.echo(b"abc") == b"abc"
    boot.execute(b"assert __name__ == 'execute'")
    with pytest.raises(ZeroDivisionError):
        boot.execute(b"1 / 0")


def test_unfinished_lines_are_flushed() -> None:
    with (
        mock.patch.object(streams, "finish_all") as finish,
        mock.patch.object(sys, "stdout", None),
        mock.patch.object(sys, "stderr") as stderr,
    ):
        boot.flush_streams()
    finish.assert_called_once_with()
    stderr.flush.assert_called_once_with()


def test_the_end_waits_for_threads_runs_exit_hooks_and_names_who_stays() -> None:
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="stays", daemon=True)
    thread.start()
    order = mock.Mock()
    with (
        mock.patch.object(threading, "_shutdown", order.threads),
        mock.patch("atexit._run_exitfuncs", order.hooks),
    ):
        alive = json.loads(boot.shutdown(b""))
    leave.set()
    thread.join()
    assert [call[0] for call in order.mock_calls] == ["threads", "hooks"]
    assert "stays" in alive


def test_what_goes_wrong_at_the_end_does_not_keep_the_rest_from_happening(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (
        mock.patch.object(threading, "_shutdown", side_effect=SystemExit(1)),
        mock.patch("atexit._run_exitfuncs", side_effect=ValueError("hook")) as hooks,
    ):
        boot.shutdown(b"")
    hooks.assert_called_once_with()
    assert "ValueError: hook" in capsys.readouterr().err


# Doctor


def test_packages_and_build_are_described() -> None:
    told = json.loads(doctor.describe(b""))
    assert "pydantic" in told["packages"]
    assert sys.version.split()[0] in told["build"]
    assert told["free_threaded"] is False


def test_packages_that_are_not_installed_are_left_out() -> None:
    with mock.patch.object(doctor, "PACKAGES", ("no-such-package-xyz",)):
        assert json.loads(doctor.describe(b""))["packages"] == {}


def test_the_package_can_be_imported() -> None:
    assert json.loads(doctor.import_tasker_core(b"")) == "0.1.8"


# Loader


def project(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def load(*paths: Path | str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        loader.load(json.dumps({"paths": [str(path) for path in paths]}).encode())
    )
    return answer


def names(loaded: dict[str, Any]) -> list[str]:
    return [handler["name"] for handler in loaded["handlers"]]


def test_a_file_is_loaded_and_its_handlers_are_described(tmp_path: Path) -> None:
    file = project(tmp_path, orders_py=HANDLER.format("Orders", "orders")) / "orders.py"
    loaded = load(file)
    assert loaded["problems"] == []
    assert loaded["modules"] == ["orders"]
    assert loaded["handlers"] == [
        {
            "name": "orders",
            "kind": "class",
            "abstract": False,
            "file": str(file),
            "line": 4,
            "module": "orders",
            "attribute": "Orders",
        }
    ]
    assert HandlerRegistry.instance().is_registered("orders")


FUNCTIONS = """
from tasker_core.step_handler import *

@step_handler("f_load", version="2.0.0")
def load():
    '''Loads.

    From somewhere.
    '''

@decision_handler("f_decide")
@depends_on(a="f_load", b="f_load")
def decide(a, b): ...

@batch_analyzer("f_analyze", worker_template="f_work")
def analyze(): ...

@batch_worker("f_work")
def work(batch_context): ...

@api_handler("f_fetch", base_url="https://x")
def fetch(api): ...
"""


def test_functions_are_described_with_what_they_depend_on(tmp_path: Path) -> None:
    loaded = load(project(tmp_path, functions_py=FUNCTIONS) / "functions.py")
    told = {handler["name"]: handler for handler in loaded["handlers"]}
    assert [handler["kind"] for handler in loaded["handlers"]] == [
        "step_handler",
        "decision_handler",
        "batch_analyzer",
        "batch_worker",
        "api_handler",
    ]
    assert (told["f_load"]["version"], told["f_load"]["depends_on"]) == ("2.0.0", [])
    assert told["f_load"]["doc"] == "Loads.\n\nFrom somewhere."
    assert told["f_decide"]["depends_on"] == ["f_load"]
    assert told["f_analyze"]["worker_template"] == "f_work"


IMPORTS = "from tasker_core.step_handler import *\nfrom tasker_core import StepHandler\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            HANDLER.format("Five", "five").replace('"five"', "5"),
            4,
            "handler_name of Five must be text, not the number 5",
        ),
        (
            HANDLER.format("Listed", "listed").replace('"listed"', "['listed']"),
            4,
            "handler_name of Listed must be text, not the list ['listed']",
        ),
        (
            IMPORTS + "@step_handler(5)\ndef five(): ...\n",
            3,
            "the name in @step_handler must be text, not the number 5",
        ),
        (
            IMPORTS + "@batch_analyzer('a', worker_template=5)\ndef analyze(): ...\n",
            3,
            "worker_template in @batch_analyzer must be text, not the number 5",
        ),
        (
            IMPORTS + "@step_handler('a')\n@depends_on(x=['b'])\ndef needs(x): ...\n",
            3,
            "the step in @depends_on must be text, not the list ['b']",
        ),
    ],
)
def test_a_declaration_of_a_wrong_type_is_a_problem_with_its_place(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    file = project(tmp_path, wrong_py=HANDLER.format("Right", "right") + text) / "wrong.py"
    loaded = load(file)
    (problem,) = loaded["problems"]
    assert (problem["file"], problem["line"]) == (str(file), line + HANDLER.count("\n"))
    assert problem["message"] == message
    assert names(loaded) == ["right"]


def test_what_a_handler_is_called_may_depend_on_the_instance(tmp_path: Path) -> None:
    text = HANDLER.format("Own", "own").replace(
        'handler_name = "own"', "@property\n    def handler_name(self): return 'own'"
    )
    loaded = load(project(tmp_path, own_py=text) / "own.py")
    assert (names(loaded), loaded["problems"]) == (["own.Own"], [])


def test_a_version_may_be_a_number(tmp_path: Path) -> None:
    text = IMPORTS + "@step_handler('versioned', version=2)\ndef versioned(): ...\n"
    loaded = load(project(tmp_path, versioned_py=text) / "versioned.py")
    assert [handler["version"] for handler in loaded["handlers"]] == ["2"]


LAZY = """
class Proxy:
    @property
    def __class__(self): raise RuntimeError("outside of a request")
    def __getattr__(self, name): raise RuntimeError("outside of a request")
    def __call__(self): ...

request = Proxy()
"""


def test_what_complains_when_it_is_looked_at_is_no_handler(tmp_path: Path) -> None:
    loaded = load(project(tmp_path, lazy_py=HANDLER.format("L", "l") + LAZY) / "lazy.py")
    assert (names(loaded), loaded["problems"]) == (["l"], [])


def test_classes_without_a_name_are_called_by_their_path(tmp_path: Path) -> None:
    text = HANDLER.format("Nameless", "")
    loaded = load(project(tmp_path, nameless_py=text) / "nameless.py")
    assert names(loaded) == ["nameless.Nameless"]


def test_classes_that_are_only_derived_from_are_no_handlers(tmp_path: Path) -> None:
    text = HANDLER.format("Base", "") + "\nclass Abstract(StepHandler):\n    pass\n"
    text += "\nclass Derived(Base):\n    handler_name = 'derived'\n"
    loaded = load(project(tmp_path, derived_py=text) / "derived.py")
    assert names(loaded) == ["derived"]


def test_a_class_with_a_name_and_without_a_call_is_told_as_such(tmp_path: Path) -> None:
    text = HANDLER.format("Whole", "whole")
    text += "\nclass Half(StepHandler):\n    handler_name = 'half'\n"
    loaded = load(project(tmp_path, half_py=text) / "half.py")
    assert names(loaded) == ["whole", "half"]
    assert [handler["abstract"] for handler in loaded["handlers"]] == [False, True]


def test_a_directory_is_a_package_of_its_name(tmp_path: Path) -> None:
    folder = project(
        tmp_path / "shop_of_tests",
        top_py=HANDLER.format("Top", "top"),
        deep____init_____py="",
        deep__orders_py="from ..top import Top\n" + HANDLER.format("Deep", "deep"),
        test_top_py="1 / 0",
        conftest_py="1 / 0",
    )
    (folder / "deep" / "__init__.py").touch()
    loaded = load(folder)
    assert loaded["problems"] == []
    assert sorted(names(loaded)) == ["deep", "top"]
    assert loaded["modules"][0] == "shop_of_tests"
    assert load(folder)["modules"] == loaded["modules"]


def test_a_package_is_loaded_through_its_init(tmp_path: Path) -> None:
    folder = tmp_path / "package_of_tests"
    project(folder, more_py=HANDLER.format("More", "more"))
    (folder / "__init__.py").write_text("from .more import More\n")
    assert names(load(folder)) == ["more"]


def test_a_package_whose_init_breaks_is_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "breaking_of_tests"
    project(folder, more_py="")
    (folder / "__init__.py").write_text("\n1 / 0\n")
    (problem,) = load(folder)["problems"]
    assert (problem["line"], problem["message"]) == (2, "ZeroDivisionError: division by zero")
    assert "breaking_of_tests" not in sys.modules


@pytest.fixture
def others() -> Iterator[Path]:
    """Give a folder of handlers in which another user has a folder of their own."""
    folder = Path(tempfile.mkdtemp())  # not tmp_path, which is below a folder of this user's own
    folder.chmod(0o755)
    project(folder, fine_py=HANDLER.format("Fine", "fine"), theirs__postgresql_conf="")
    (folder / "theirs").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root would look into everything
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def test_a_folder_of_another_user_is_passed_over_with_a_warning(others: Path) -> None:
    loaded = load(others)
    assert names(loaded) == ["fine"]
    (problem,) = loaded["problems"]
    assert (problem["file"], problem["warning"]) == (str(others / "theirs"), True)
    assert problem["message"] == "is passed over in the search for handlers: permission denied"


def test_a_folder_that_is_named_and_cannot_be_searched_is_a_problem(others: Path) -> None:
    loaded = load(others / "theirs")
    assert loaded["handlers"] == []
    (problem,) = loaded["problems"]
    assert (problem["file"], problem["warning"]) == (str(others / "theirs"), False)
    assert problem["message"] == "cannot be searched for handlers: permission denied"


def test_what_is_hidden_and_what_is_no_file_is_no_module(tmp_path: Path) -> None:
    folder = project(tmp_path / "beside_of_tests", **{"._fine_py": "1 / 0", "fine_py": ""})
    (folder / ".#fine.py").symlink_to("user@host.1234")
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "folder.py").mkdir()
    project(folder / ".hidden", __init___py="1 / 0")
    loaded = load(folder)
    assert loaded["problems"] == []
    assert loaded["modules"] == ["beside_of_tests", "beside_of_tests.fine"]


@pytest.mark.parametrize("name", ["with-dash", "json", "collections"])
def test_a_directory_whose_name_is_taken_or_none_is_loaded_file_by_file(
    tmp_path: Path, name: str
) -> None:
    folder = project(tmp_path / name, loose_py=HANDLER.format("Loose", "loose"))
    (folder / "inner_of_tests").mkdir()
    (folder / "inner_of_tests" / "__init__.py").write_text(HANDLER.format("Inner", "inner"))
    loaded = load(folder)
    assert loaded["problems"] == []
    assert names(loaded) == ["loose", "inner"]


def test_a_file_in_a_package_is_loaded_under_its_dotted_name(tmp_path: Path) -> None:
    folder = project(tmp_path / "dotted_of_tests", orders_py=HANDLER.format("D", "d"))
    (folder / "__init__.py").touch()
    assert load(folder / "orders.py")["modules"] == ["dotted_of_tests.orders"]
    assert load(folder / "__init__.py")["modules"] == ["dotted_of_tests"]
    assert load(folder / "orders.py")["modules"] == ["dotted_of_tests.orders"]


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    one = project(tmp_path / "one", same_py=HANDLER.format("One", "one")) / "same.py"
    two = project(tmp_path / "two", same_py=HANDLER.format("Two", "two")) / "same.py"
    loaded = load(one, two, two)
    assert loaded["modules"] == ["same", "two_same"]
    assert load(two)["modules"] == ["two_same"]


def test_a_dotted_name_is_imported_with_all_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "imported_of_tests", orders_py=HANDLER.format("I", "i"))
    (folder / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert load("imported_of_tests")["modules"] == ["imported_of_tests", "imported_of_tests.orders"]


@pytest.mark.parametrize(
    ("text", "line", "message", "missing"),
    [
        ("x = (\n", 1, "SyntaxError: '(' was never closed", None),
        (
            "\nimport no_such_module_xyz\n",
            2,
            "No module named 'no_such_module_xyz'",
            "no_such_module_xyz",
        ),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3", None),
        # No signal: those belong to the host.
        ("\nraise KeyboardInterrupt\n", 2, "KeyboardInterrupt", None),
        (
            "from tasker_core.step_handler import step_handler\n@step_handler\ndef f(): ...\n",
            2 if sys.version_info >= (3, 11) else 3,  # where Python says that a decorator is
            'TypeError: write @step_handler("NAME"): the decorator needs the handler\'s name',
            None,
        ),
    ],
)
def test_what_cannot_be_imported_is_a_problem_with_its_place(
    tmp_path: Path, text: str, line: int, message: str, missing: str | None
) -> None:
    file = project(tmp_path, problem_py=text) / "problem.py"
    loaded = load(file)
    (problem,) = loaded["problems"]
    assert (problem["path"], problem["file"], problem["line"]) == (str(file), str(file), line)
    assert message in problem["message"]
    assert (problem["missing"], loaded["handlers"]) == (missing, [])
    assert "problem" not in sys.modules


@pytest.mark.parametrize("name", ["no_such_module_xyz.orders", "missing.py"])
def test_a_missing_path_is_a_problem(name: str) -> None:
    (problem,) = load(name)["problems"]
    assert problem["path"] == name


def test_a_file_that_is_no_python_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    (problem,) = load(tmp_path / "notes.txt")["problems"]
    assert "is not a Python file" in problem["message"]


def missing(**spec: Any) -> str | None:
    (told,) = json.loads(loader.resolve(json.dumps([spec]).encode()))
    return None if told is None else str(told)


CHECKED = (
    HANDLER.format("Checked", "checked")
    + """
class Abstract(StepHandler):
    handler_name = "abstract"

class NeedsMore(Checked):
    handler_name = "needs_more"
    def __init__(self, more): ...
"""
)


def test_whether_a_definition_has_a_handler(tmp_path: Path) -> None:
    load(project(tmp_path, checked_py=CHECKED) / "checked.py")
    assert missing(callable="checked") is None
    assert missing(callable="checked.Checked") is None
    assert missing(callable="checked", method="missing") is None
    assert missing(callable="unknown") == "no handler is registered under this name"
    assert missing(callable="no.such.Handler") == (
        "no handler is registered under this name and no module of it is loaded"
    )
    assert missing(callable="checked.Missing") == "module checked has no Missing"
    assert missing(callable="abstract") == "class Abstract does not define call()"
    told = missing(callable="needs_more")
    assert told is not None
    assert told.startswith("class NeedsMore cannot be made: TypeError")


def test_a_resolver_that_fails_says_how(handler_registry: HandlerRegistry) -> None:
    handler_registry.resolver_chain.register("made", lambda config: 1 / 0)
    assert missing(callable="made") == "ZeroDivisionError: division by zero"


def test_a_resolver_that_gives_nothing(tmp_path: Path, handler_registry: HandlerRegistry) -> None:
    load(project(tmp_path, given_py=HANDLER.format("Given", "given")) / "given.py")
    handler_registry.resolver_chain.remove_resolver("explicit_mapping")
    assert missing(callable="given") == "its resolver gives no handler"


def test_modules_and_handlers_can_be_taken_out_again(tmp_path: Path) -> None:
    load(project(tmp_path, taken_py=HANDLER.format("Taken", "taken")) / "taken.py")
    loader.unload(b'{"modules": ["taken"], "handlers": ["taken"]}')
    loader.unload(b'{"modules": null, "handlers": null}')
    assert "taken" not in sys.modules
    assert not HandlerRegistry.instance().is_registered("taken")


def test_contexts_that_are_alive_are_counted(sample_step_context: Any) -> None:
    gc.collect()
    before = int(loader.alive(b""))
    kept = sample_step_context.model_copy()
    assert int(loader.alive(b"")) == before + 1
    del kept
