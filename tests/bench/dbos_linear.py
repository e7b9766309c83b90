"""The linear workflow on DBOS with SQLite: what `make bench` compares with.

Usage: python dbos_linear.py FOLDER TASKS. Prints the durable steps per second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

folder, tasks = Path(sys.argv[1]), int(sys.argv[2])
config: DBOSConfig = {
    "name": "bench",
    "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
    "log_level": "ERROR",
    "run_admin_server": False,
}
DBOS(config=config)


@DBOS.step()
def square(n: int) -> int:
    return n * n


@DBOS.step()
def add(n: int) -> int:
    return n + 10


@DBOS.step()
def multiply(n: int) -> int:
    return n * 3


@DBOS.step()
def divide(n: int) -> float:
    return n / 2


@DBOS.workflow()
def linear(n: int) -> float:
    return divide(multiply(add(square(n))))


DBOS.launch()
linear(0)
started = time.perf_counter()
handles = [DBOS.start_workflow(linear, n) for n in range(tasks)]
for handle in handles:
    handle.get_result()
print(4 * tasks / (time.perf_counter() - started))
DBOS.destroy()
