"""Where templates are found, and what is read from them."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tasker_core import template_discovery
from tasker_core.template_discovery import (
    WORKSPACE_MARKERS,
    HandlerDiscovery,
    TemplateParser,
    TemplatePath,
)

ORDER = """
name: order_intake
namespace_name: shop
version: 1.0.0
description: Takes orders
steps:
  - {name: pay, handler: {callable: shop.Pay}}
  - {name: ship, handler: {callable: shop.Ship}}
  - {name: pay_again, handler: {callable: shop.Pay}}
"""
STEPS = [
    {"handler": {"callable": "shop.Pay"}},
    {"handler": {"callable": ""}},
    {"handler": {"callable": 7}},
    {"handler": {}},
    {"handler": "shop.Text"},
    {},
    "text",
    {"handler": {"callable": "shop.Ship"}},
]


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that lies in no project, twelve levels above its top."""
    directory = tmp_path.joinpath(*"abcdefghijkl")
    directory.mkdir(parents=True)
    monkeypatch.setattr("tasker_core.template_discovery.Path.cwd", lambda: directory)
    return directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    return folder


def test_the_markers_stand_in_their_order() -> None:
    assert WORKSPACE_MARKERS == (
        "Cargo.toml",
        "pyproject.toml",
        ".git",
        "Gemfile",
        "package.json",
        "tasker-core.code-workspace",
    )


def test_the_configured_directory_comes_first(
    cwd: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cwd / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(folder))
    assert TemplatePath.find_template_config_directory() == folder


@pytest.mark.parametrize("configured", ["", "/no/such/directory"])
def test_a_configured_path_that_is_no_directory_is_passed_over(
    cwd: Path, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    (cwd / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("TASKER_TEMPLATE_PATH", configured)
    assert TemplatePath.find_template_config_directory() == cwd / "config" / "tasks"


def test_only_a_configured_path_that_is_no_directory_is_warned_of(
    cwd: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with patch.object(template_discovery, "log_warn") as warn:
        monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(folder))
        TemplatePath.find_template_config_directory()
        monkeypatch.setenv("TASKER_TEMPLATE_PATH", "")
        TemplatePath.find_template_config_directory()
        warn.assert_not_called()
        monkeypatch.setenv("TASKER_TEMPLATE_PATH", "/no/such/directory")
        TemplatePath.find_template_config_directory()
        warn.assert_called_once()


def test_in_the_test_environment_test_templates_come_before_the_workspace(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixtures = cwd / "tests" / "fixtures" / "task_templates" / "python"
    fixtures.mkdir(parents=True)
    (cwd / ".git").mkdir()
    (tmp_path / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    monkeypatch.setenv("TASKER_ENV", "test")
    assert TemplatePath.find_template_config_directory() == fixtures


def test_in_the_test_environment_without_test_templates_the_workspace_serves(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    monkeypatch.setenv("TASKER_ENV", "test")
    assert TemplatePath.find_template_config_directory() == tmp_path / "config" / "tasks"


def test_the_workspace_comes_before_the_detected_root(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cwd / ".git").mkdir()
    (cwd / "config" / "tasks").mkdir(parents=True)
    (tmp_path / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    assert TemplatePath.find_template_config_directory() == tmp_path / "config" / "tasks"


def test_a_workspace_serves_though_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    with patch("tasker_core.template_discovery.Path.cwd", side_effect=FileNotFoundError):
        assert TemplatePath.find_template_config_directory() == tmp_path / "config" / "tasks"


def test_the_detected_root_comes_before_the_working_directory(cwd: Path) -> None:
    root = cwd.parent
    (root / "Cargo.toml").touch()
    (root / "config" / "tasks").mkdir(parents=True)
    (cwd / "config" / "tasks").mkdir(parents=True)
    assert TemplatePath.find_template_config_directory() == root / "config" / "tasks"


def test_a_workspace_without_templates_is_passed_over(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cwd / "config" / "tasks").mkdir(parents=True)
    monkeypatch.setenv("WORKSPACE_PATH", str(tmp_path))
    assert TemplatePath.find_template_config_directory() == cwd / "config" / "tasks"


def test_there_may_be_no_templates(cwd: Path) -> None:
    assert TemplatePath.find_template_config_directory() is None


@pytest.mark.parametrize("marker", WORKSPACE_MARKERS)
def test_a_marker_tells_the_root(cwd: Path, marker: str) -> None:
    (cwd.parent / marker).touch()
    assert TemplatePath._detect_workspace_root() == cwd.parent


def test_the_nearest_marker_tells_the_root(cwd: Path) -> None:
    (cwd / "Gemfile").touch()
    (cwd.parent / "Cargo.toml").touch()
    assert TemplatePath._detect_workspace_root() == cwd


def test_ten_directories_are_looked_at_for_the_root(cwd: Path) -> None:
    (cwd.parents[8] / "Cargo.toml").touch()
    assert TemplatePath._detect_workspace_root() == cwd.parents[8]


def test_an_eleventh_directory_is_not_looked_at(cwd: Path) -> None:
    (cwd.parents[9] / "Cargo.toml").touch()
    assert TemplatePath._detect_workspace_root() is None


@pytest.mark.parametrize(
    ("environment", "is_test"), [("test", True), ("Test", False), ("production", False)]
)
def test_the_test_environment_is_named_exactly(
    monkeypatch: pytest.MonkeyPatch, environment: str, is_test: bool
) -> None:
    monkeypatch.setenv("TASKER_ENV", environment)
    assert TemplatePath._is_test_environment() is is_test


def test_without_an_environment_it_is_not_the_test_environment() -> None:
    assert TemplatePath._is_test_environment() is False


@pytest.mark.parametrize("levels", [3, 4])
def test_test_templates_are_found_beside_the_project_or_in_its_repository(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, levels: int
) -> None:
    package = tmp_path / "repository" / "group" / "project" / "python" / "tasker_core"
    package.mkdir(parents=True)
    base = package.parents[levels - 1]
    fixtures = base / "tests" / "fixtures" / "task_templates" / "python"
    fixtures.mkdir(parents=True)
    monkeypatch.setattr(template_discovery, "__file__", str(package / "template_discovery.py"))
    assert TemplatePath._find_test_template_path() == fixtures


def test_a_package_near_the_root_directory_has_no_repository(
    cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_discovery, "__file__", "/tasker_core/template_discovery.py")
    assert TemplatePath._find_test_template_path() is None


def test_files_are_found_at_any_depth_and_sorted(folder: Path) -> None:
    files = [folder / "b.yaml", folder / "a" / "z.yml", folder / "a" / "deep" / "c.yaml"]
    for file in [*files, folder / "notes.txt"]:
        write(file, "")
    assert TemplatePath.discover_template_files(folder) == sorted(files)


def test_a_directory_named_like_a_template_is_none(folder: Path) -> None:
    (folder / "old.yaml").mkdir()
    assert TemplatePath.discover_template_files(folder) == []


def test_a_missing_directory_has_no_files(folder: Path) -> None:
    assert TemplatePath.discover_template_files(folder / "missing") == []


def test_callables_are_read_in_order_with_duplicates(folder: Path) -> None:
    file = write(folder / "order.yaml", ORDER)
    assert TemplateParser.extract_handler_callables(file) == ["shop.Pay", "shop.Ship", "shop.Pay"]


def test_steps_without_a_callable_are_passed_over() -> None:
    found = TemplateParser.extract_handlers_from_template({"steps": STEPS})
    assert found == ["shop.Pay", "shop.Ship"]


@pytest.mark.parametrize("template", [{}, {"steps": None}, {"steps": {"a": 1}}, {"steps": []}])
def test_a_template_without_a_list_of_steps_has_no_callables(template: dict[str, Any]) -> None:
    assert TemplateParser.extract_handlers_from_template(template) == []


def test_metadata_is_read(folder: Path) -> None:
    file = write(folder / "order.yaml", ORDER)
    assert TemplateParser.extract_template_metadata(file) == {
        "name": "order_intake",
        "namespace": "shop",
        "version": "1.0.0",
        "description": "Takes orders",
        "file_path": str(file),
        "handlers": ["shop.Pay", "shop.Ship", "shop.Pay"],
    }


def test_metadata_has_defaults(folder: Path) -> None:
    metadata = TemplateParser.extract_template_metadata(write(folder / "a.yaml", "steps: []"))
    assert (metadata["name"], metadata["namespace"], metadata["version"]) == ("", "", "")
    assert (metadata["description"], metadata["handlers"]) == ("", [])


def test_values_keep_their_yaml_types(folder: Path) -> None:
    file = write(folder / "a.yaml", "version: 1.0")
    assert TemplateParser.extract_template_metadata(file)["version"] == 1.0


UNREADABLE = {
    "invalid.yaml": b"steps: [",
    "a_list.yaml": b"- 1",
    "empty.yaml": b"",
    "binary.yaml": b"name: \xff\xfe",
    "no_date.yaml": b"created: 2026-99-99",
    "a_tag.yaml": b"name: !!python/object/apply:os.getcwd []",
    "deep.yaml": b"[" * 5000,
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_has_no_callables_and_no_metadata(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(UNREADABLE[name])
    assert TemplateParser.extract_handler_callables(file) == []
    assert TemplateParser.extract_template_metadata(file) == {}


def test_a_missing_file_has_no_callables_and_no_metadata(folder: Path) -> None:
    assert TemplateParser.extract_handler_callables(folder / "missing.yaml") == []
    assert TemplateParser.extract_template_metadata(folder / "missing.yaml") == {}


def test_a_file_that_cannot_be_read_is_warned_of_in_one_line(folder: Path) -> None:
    file = write(folder / "invalid.yaml", "steps: [")
    with patch.object(template_discovery, "log_warn") as warn:
        TemplateParser.extract_handler_callables(file)
    message = warn.call_args.args[0]
    assert str(file) in message
    assert "\n" not in message


@pytest.fixture
def three_files(folder: Path) -> Path:
    write(folder / "c" / "order.yaml", ORDER)
    write(
        folder / "b.yml",
        "{name: b, namespace_name: shop, steps: [{handler: {callable: shop.Check}}]}",
    )
    write(folder / "a.yaml", "{name: a, steps: [{handler: {callable: free}}]}")
    write(folder / "d.yaml", "[no, template]")
    return folder


def test_all_callables_are_told_once_and_sorted(three_files: Path) -> None:
    assert HandlerDiscovery.discover_all_handlers(three_files) == [
        "free",
        "shop.Check",
        "shop.Pay",
        "shop.Ship",
    ]


def test_all_metadata_is_told_in_file_order(three_files: Path) -> None:
    names = [
        metadata["name"] for metadata in HandlerDiscovery.discover_template_metadata(three_files)
    ]
    assert names == ["a", "b", "order_intake"]


def test_callables_are_told_by_namespace(three_files: Path) -> None:
    assert HandlerDiscovery.discover_handlers_by_namespace(three_files) == {
        "": ["free"],
        "shop": ["shop.Check", "shop.Pay", "shop.Ship"],
    }


@pytest.mark.parametrize(("namespace", "told"), [("null", ""), ("7", "7"), ("[a]", "['a']")])
def test_a_namespace_of_another_type_is_told_as_text(
    folder: Path, namespace: str, told: str
) -> None:
    """A null namespace was told as None, a list made the discovery fail."""
    write(folder / "a.yaml", f"namespace_name: {namespace}")
    assert HandlerDiscovery.discover_handlers_by_namespace(folder) == {told: []}


def test_a_missing_directory_has_nothing_to_tell(folder: Path) -> None:
    missing = folder / "missing"
    assert HandlerDiscovery.discover_all_handlers(missing) == []
    assert HandlerDiscovery.discover_template_metadata(missing) == []
    assert HandlerDiscovery.discover_handlers_by_namespace(missing) == {}


def test_the_public_names_are_those_of_the_contract() -> None:
    assert set(template_discovery.__all__) == {"HandlerDiscovery", "TemplatePath", "TemplateParser"}
