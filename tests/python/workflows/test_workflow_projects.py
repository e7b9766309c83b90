"""Each folder is a project: templates whose steps have a handler, both ways of writing them."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tasker_core.handler import HandlerRegistry, StepHandler

HERE = Path(__file__).parent
PROJECTS = [
    "conditional_approval",
    "data_pipeline",
    "ecommerce",
    "resolver_tests",
    "team_scaling",
    "test_scenarios",
    "user_registration",
]
TEMPLATES = sorted(file for project in PROJECTS for file in (HERE / project).glob("*.yaml"))


def read(template: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(template.read_text())
    return content


def twin(name: str) -> str:
    return f"{name.removesuffix('_py')}_dsl_py"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
def test_each_step_has_a_handler(template: Path) -> None:
    family = "dsl_handlers" if template.stem.endswith("_dsl_py") else "handlers"
    registry = HandlerRegistry()
    module = importlib.import_module(f"tests.python.workflows.{template.parent.name}.{family}")
    registry._scan_module_for_handlers(module, StepHandler)
    for step in read(template)["steps"]:
        assert registry.resolve(step["handler"]["callable"]) is not None, step["name"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.stem)
def test_a_template_is_named_like_its_file(template: Path) -> None:
    assert read(template)["name"] == template.stem


@pytest.mark.parametrize(
    "template",
    [file for file in TEMPLATES if not file.stem.endswith("_dsl_py")],
    ids=lambda file: file.stem,
)
def test_a_template_of_classes_has_a_twin_of_functions(template: Path) -> None:
    ours = read(template)
    other = read(template.with_name(f"{twin(template.stem)}.yaml"))
    assert other["namespace_name"] == twin(ours["namespace_name"])

    def shape(steps: list[dict[str, Any]], rename: Any) -> list[dict[str, Any]]:
        return [
            {
                **{key: value for key, value in step.items() if key != "handler"},
                "name": rename(step["name"]),
                "dependencies": [rename(name) for name in step["dependencies"]],
                "method": step["handler"].get("method"),
                "initialization": step["handler"]["initialization"],
            }
            for step in steps
        ]

    assert shape(ours["steps"], twin) == shape(other["steps"], str)
