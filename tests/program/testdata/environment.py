"""What a program changes in its environment before it starts a worker counts."""

import os
import sys

from tasker_core import bootstrap_worker, get_worker_config, stop_worker

templates = sys.argv[1]


def fails() -> str:
    try:
        bootstrap_worker()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("the worker was started")


assert "no task templates" in fails()

os.environ["TASKER_TEMPLATE_PATH"] = templates
os.environ["TASKER_ENV"] = "staging"
assert bootstrap_worker().success
config = get_worker_config()
assert config.supported_namespaces, config
assert config.environment == "staging", config
stop_worker()

os.environ["TASKER_CONFIG_PATH"] = "/no/such/file.toml"
assert "TASKER_CONFIG_PATH" in fails()

del os.environ["TASKER_CONFIG_PATH"]
del os.environ["TASKER_ENV"]
assert bootstrap_worker().success
assert get_worker_config().environment == "development"
stop_worker()

del os.environ["TASKER_TEMPLATE_PATH"]
assert "no task templates" in fails()
print("done")
