"""A worker that cannot be started says why and leaves nothing behind; the text is the argument."""

import sys

from tasker_core import bootstrap_worker, is_worker_running, stop_worker

for _ in range(2):
    try:
        bootstrap_worker()
    except RuntimeError as error:
        assert str(error).startswith("Bootstrap failed: "), error
        assert sys.argv[1] in str(error), error
        assert "\n" not in str(error), error
    else:
        raise AssertionError("the worker was started")
    assert not is_worker_running()
    assert stop_worker() == "Worker system not running"
print("done")
