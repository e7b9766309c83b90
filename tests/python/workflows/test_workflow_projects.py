"""Each folder is a project: templates whose steps have a handler, both ways of writing them."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from tasker_core.handler import HandlerRegistry, StepHandler

HERE = Path(__file__).parent
# Where the class-based twins of some projects are.
EXAMPLES = {
    "linear_workflow": HERE.parents[2] / "examples" / "linear",
    "diamond_workflow": HERE.parents[2] / "examples" / "diamond",
}
PROJECTS = [
    "conditional_approval",
    "data_pipeline",
    "diamond_workflow",
    "ecommerce",
    "linear_workflow",
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


def of_classes() -> list[tuple[Path, Path]]:
    """Return the templates of classes with the folders that have their twins."""
    pairs = [(file, file.parent) for file in TEMPLATES if not file.stem.endswith("_dsl_py")]
    for project, folder in EXAMPLES.items():
        pairs += [(file, HERE / project) for file in folder.glob("*.yaml")]
    return pairs


@pytest.mark.parametrize(("template", "folder"), of_classes(), ids=lambda path: path.stem)
def test_a_template_of_classes_has_a_twin_of_functions(template: Path, folder: Path) -> None:
    ours = read(template)
    other = read(folder / f"{twin(template.stem)}.yaml")
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


def test_all_projects_together_have_the_123_handlers_of_the_published_examples() -> None:
    """python-api-more §11 says how many there are."""
    registry = HandlerRegistry()
    for file in sorted(HERE.glob("*/*handlers.py")):
        module = importlib.import_module(f"tests.python.workflows.{file.parent.name}.{file.stem}")
        registry._scan_module_for_handlers(module, StepHandler)
    for project, folder in EXAMPLES.items():
        spec = importlib.util.spec_from_file_location(project, folder / "handlers.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        registry._scan_module_for_handlers(module, StepHandler)
    assert registry.handler_count() == 123
