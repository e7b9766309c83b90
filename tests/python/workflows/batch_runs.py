"""Run workflows with batches step by step, as orchestration would."""

import importlib
from pathlib import Path
from typing import Any

import yaml
from tasker_core.handler import HandlerRegistry
from tasker_core.step_handler import StepHandler
from tasker_core.testing import StepRun, run_step

HERE = Path(__file__).parent


class Workflow:
    """A template of a project, and the handlers of its modules in the registry."""

    def __init__(self, registry: HandlerRegistry, project: str, template: str) -> None:
        content = yaml.safe_load((HERE / project / f"{template}.yaml").read_text(encoding="utf-8"))
        self.template: dict[str, Any] = content
        self.steps: dict[str, dict[str, Any]] = {step["name"]: step for step in content["steps"]}
        for module in ("handlers", "dsl_handlers"):
            imported = importlib.import_module(f"tests.python.workflows.{project}.{module}")
            registry._scan_module_for_handlers(imported, StepHandler)

    def run(self, step: str, **given: Any) -> StepRun:
        """Run a step with the handler and the settings that the template gives it."""
        handler = self.steps[step]["handler"]
        return run_step(
            handler["callable"],
            step_config=handler["initialization"],
            max_retries=self.steps[step]["retry"]["max_attempts"],
            **given,
        )


def worker_inputs(
    step: dict[str, Any], cursor: dict[str, Any], *, is_no_op: bool = False
) -> dict[str, Any]:
    """Return what orchestration puts into the inputs of a batch worker."""
    batches = step["batch_config"]
    return {
        **step["handler"]["initialization"],
        "cursor": cursor,
        "batch_metadata": {
            "cursor_field": batches["cursor_field"],
            "failure_strategy": batches["failure_strategy"],
        },
        "is_no_op": is_no_op,
        "__template_step_name": step["name"],
    }


def workers_of(
    workflow: Workflow, analyzer: str, analyzed: dict[str, Any]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the workers that an analyzer's result asks for.

    By step name: the template step, and the inputs.
    """
    outcome = analyzed["batch_processing_outcome"]
    if outcome["type"] == "create_batches":
        template, cursors = outcome["worker_template_name"], outcome["cursor_configs"]
    else:
        template = workflow.steps[analyzer]["handler"]["initialization"].get("worker_template_name")
        if template is None:
            return {}
        cursors = [{"batch_id": "000", "start_cursor": 0, "end_cursor": 0, "batch_size": 0}]
    step = workflow.steps[template]
    return {
        f"{template}_{cursor['batch_id']}": (
            template,
            worker_inputs(step, cursor, is_no_op=outcome["type"] == "no_batches"),
        )
        for cursor in cursors
    }


def run_batches(
    workflow: Workflow, analyzer: str, aggregator: str, input_data: dict[str, Any]
) -> dict[str, Any]:
    """Run all steps, workers through all their checkpoints; return the results by step."""
    results = {analyzer: workflow.run(analyzer, input_data=input_data).assert_success()}
    workers = workers_of(workflow, analyzer, results[analyzer])
    if not workers:
        return results
    for name, (template, inputs) in workers.items():
        run = workflow.run(
            template,
            input_data=input_data,
            step_inputs=inputs,
            dependency_results={analyzer: results[analyzer]},
        )
        while run.checkpoint is not None:
            run = workflow.run(
                template,
                input_data=input_data,
                step_inputs=inputs,
                dependency_results={analyzer: results[analyzer]},
                checkpoint=run.checkpoint,
            )
        results[name] = run.assert_success()
    run = workflow.run(aggregator, input_data=input_data, dependency_results=results)
    return {**results, aggregator: run.assert_success()}
