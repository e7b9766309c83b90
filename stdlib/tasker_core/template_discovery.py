"""Find task templates and the handlers they name.

Templates are YAML files. Nothing here raises because one is missing or
broken: it is logged and left out, as a worker must start without it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_core._patchable import patchable
from tasker_core.logging import log_debug, log_warn

__all__ = ["HandlerDiscovery", "TemplateParser", "TemplatePath"]

WORKSPACE_MARKERS = (
    "Cargo.toml",
    "pyproject.toml",
    ".git",
    "Gemfile",
    "package.json",
    "tasker-core.code-workspace",
)
"""What a directory holds that is the root of a project."""

_TEST_TEMPLATES = Path("tests", "fixtures", "task_templates", "python")
# How many directories are looked at, the first among them, to find the root.
_ROOT_SEARCH_DEPTH = 10


class TemplatePath:
    """Where the templates are.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "order.yaml").write_text("name: order")
    ...     [file.name for file in TemplatePath.discover_template_files(Path(folder))]
    ['order.yaml']
    """

    @staticmethod
    def find_template_config_directory() -> Path | None:
        """Return the directory that holds the templates, or ``None``.

        ``TASKER_TEMPLATE_PATH`` comes first; in the test environment then the
        test templates; then ``config/tasks`` of ``WORKSPACE_PATH``, of the
        project that the working directory is in, and of the working directory.
        """
        configured = os.environ.get("TASKER_TEMPLATE_PATH")
        if configured:
            if Path(configured).is_dir():
                return Path(configured)
            log_warn(
                f"TASKER_TEMPLATE_PATH={configured!r} is not a directory, looking elsewhere",
                {"path": configured},
            )
        if TemplatePath._is_test_environment():
            test_templates = TemplatePath._find_test_template_path()
            if test_templates is not None:
                return test_templates
        for find_root in (_workspace_path, TemplatePath._detect_workspace_root, Path.cwd):
            # Asked for one by one: a working directory that is gone is none of
            # the business of a worker whose WORKSPACE_PATH is set.
            root = find_root()
            if root is not None and (root / "config" / "tasks").is_dir():
                return root / "config" / "tasks"
        return None

    @staticmethod
    def discover_template_files(template_dir: Path) -> list[Path]:
        """Return the YAML files below a directory, sorted; none if there is no such one."""
        if not template_dir.is_dir():
            return []
        found = [*template_dir.glob("**/*.yaml"), *template_dir.glob("**/*.yml")]
        return sorted(file for file in found if file.is_file())

    @staticmethod
    def _is_test_environment() -> bool:
        return os.environ.get("TASKER_ENV") == "test"

    @staticmethod
    def _find_test_template_path() -> Path | None:
        # The package stands in <repository>/<group>/<project>/python/tasker_core.
        above = Path(__file__).resolve().parent.parents
        bases: list[Path | None] = [*above[2:4], TemplatePath._detect_workspace_root()]
        for base in bases:
            if base is not None and (base / _TEST_TEMPLATES).is_dir():
                return base / _TEST_TEMPLATES
        return None

    @staticmethod
    def _detect_workspace_root() -> Path | None:
        start = Path.cwd()
        for directory in [start, *start.parents][:_ROOT_SEARCH_DEPTH]:
            if any((directory / marker).exists() for marker in WORKSPACE_MARKERS):
                return directory
        return None


class TemplateParser:
    """What one template says.

    >>> TemplateParser.extract_handlers_from_template(
    ...     {"steps": [{"name": "pay", "handler": {"callable": "shop.Pay"}}, {"name": "ship"}]}
    ... )
    ['shop.Pay']
    """

    @staticmethod
    def extract_handler_callables(template_file: Path) -> list[str]:
        """Return the callables of a file's steps in their order; none if it cannot be read."""
        template = _read(template_file)
        if template is None:
            return []
        return TemplateParser.extract_handlers_from_template(template)

    @staticmethod
    def extract_handlers_from_template(template_data: dict[str, Any]) -> list[str]:
        """Return the callables of a template's steps in their order."""
        steps = template_data.get("steps")
        if not isinstance(steps, list):
            return []
        callables = []
        for step in steps:
            handler = step.get("handler") if isinstance(step, dict) else None
            name = handler.get("callable") if isinstance(handler, dict) else None
            if isinstance(name, str) and name:
                callables.append(name)
        return callables

    @staticmethod
    def extract_template_metadata(template_file: Path) -> dict[str, Any]:
        """Return what a file says about its template; nothing if it cannot be read.

        The keys are ``name``, ``namespace``, ``version``, ``description``,
        ``file_path`` and ``handlers``.
        """
        template = _read(template_file)
        if template is None:
            return {}
        return {
            "name": template.get("name", ""),
            "namespace": template.get("namespace_name", ""),
            "version": template.get("version", ""),
            "description": template.get("description", ""),
            "file_path": str(template_file),
            "handlers": TemplateParser.extract_handlers_from_template(template),
        }


class HandlerDiscovery:
    """What the templates of a directory say together.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "order.yaml").write_text(
    ...         "namespace_name: shop\\nsteps: [{handler: {callable: shop.Pay}}]"
    ...     )
    ...     HandlerDiscovery.discover_handlers_by_namespace(Path(folder))
    {'shop': ['shop.Pay']}
    """

    @staticmethod
    def discover_all_handlers(template_dir: Path) -> list[str]:
        """Return the callables of all templates, each once, sorted."""
        found: set[str] = set()
        files = TemplatePath.discover_template_files(template_dir)
        for file in files:
            found.update(TemplateParser.extract_handler_callables(file))
        log_debug(
            f"{len(found)} callables in {len(files)} templates", {"directory": str(template_dir)}
        )
        return sorted(found)

    @staticmethod
    def discover_template_metadata(template_dir: Path) -> list[dict[str, Any]]:
        """Return the metadata of each template that can be read, in file order."""
        files = TemplatePath.discover_template_files(template_dir)
        metadata = [TemplateParser.extract_template_metadata(file) for file in files]
        return [found for found in metadata if found]

    @staticmethod
    def discover_handlers_by_namespace(template_dir: Path) -> dict[str, list[str]]:
        """Return for each namespace the callables of its templates, each once, sorted.

        Templates that name no namespace stand under the empty text.
        """
        found: dict[str, set[str]] = {}
        for metadata in HandlerDiscovery.discover_template_metadata(template_dir):
            namespace = str(metadata["namespace"] or "")
            found.setdefault(namespace, set()).update(metadata["handlers"])
        return {namespace: sorted(callables) for namespace, callables in found.items()}


def _workspace_path() -> Path | None:
    workspace = os.environ.get("WORKSPACE_PATH")
    return Path(workspace) if workspace else None


def _read(file: Path) -> dict[str, Any] | None:
    """Return the mapping that a file holds, or ``None`` if it holds none."""
    # Only programs that look for templates pay for the parser.
    import yaml

    loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # A dangling link, text in another encoding, a date like 2026-99-99 and
        # lists nested a thousand deep are all no reason to stop.
        content = yaml.load(file.read_bytes(), Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as exc:
        log_warn(f"Template {file} is left out: {_one_line(exc)}", {"file": str(file)})
        return None
    return content if isinstance(content, dict) else None


def _one_line(exc: BaseException) -> str:
    return " ".join(f"{type(exc).__name__}: {exc}".split())


if not TYPE_CHECKING:
    __getattr__ = patchable(__name__, {"log_info": "tasker_core.logging:log_info", "yaml": "yaml"})
