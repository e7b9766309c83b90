"""Writes the pkg-config file with which Go builds against one Python.

Usage: PYTHON pkgconfig.py OUTDIR

Run with the Python to build for. Writes OUTDIR/python3.pc (flags for cgo, both
ours and cpy3's), OUTDIR/taskerpy_python.h (what the binary knows about the
Python it was built for) and OUTDIR/env (variables for make and the shell).
Prints one line and exits 3 if this Python cannot be embedded.

The compatibility header reaches cpy3 through Cflags of the .pc file only: a
global -include would break runtime/cgo. Go's build cache does not notice a
changed .pc file, so CGO_CFLAGS carries a -D that names the Python.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

SUPPORTED = ((3, 10), (3, 13))


def fail(message: str) -> None:
    print(f"taskerpy: {message}", file=sys.stderr)
    raise SystemExit(3)


def library_dir(library: str) -> Path:
    """The folder that holds the shared libpython."""
    var = sysconfig.get_config_var
    multiarch = var("MULTIARCH") or ""
    candidates = [
        Path(sys.base_prefix, "lib"),
        Path(var("LIBDIR") or ""),
        Path(var("LIBDIR") or "", multiarch),
        Path(sys.base_prefix, "lib", multiarch),
        Path(var("LIBPL") or ""),
    ]
    for folder in candidates:
        if (folder / library).is_file():
            return folder
    fail(
        f"{sys.executable} (Python {sys.version.split()[0]}) has no shared {library}; "
        "use one that has: apt-get install python3-dev, a uv-managed Python, or "
        "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install"
    )
    raise AssertionError


def main() -> None:
    if len(sys.argv) != 2:
        fail("usage: pkgconfig.py OUTDIR")
    out = Path(sys.argv[1])
    version = sys.version_info
    if not SUPPORTED[0] <= version[:2] <= SUPPORTED[1]:
        fail(
            f"{sys.executable} is Python {version.major}.{version.minor}; taskerpy builds with "
            "3.10 to 3.13: choose one with `make PYTHON=python3.12`"
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        fail(f"{sys.executable} is a free-threaded build; taskerpy needs one with a GIL")

    name = f"python{version.major}.{version.minor}"
    libdir = library_dir(f"lib{name}.so")
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        fail(
            f"{include}/Python.h is missing; install the headers of this Python, "
            f"for Debian's: apt-get install {name}-dev"
        )
    platinclude = Path(sysconfig.get_paths()["platinclude"])
    includes = f"-I{include}" + (f" -I{platinclude}" if platinclude != include else "")
    executable = getattr(sys, "_base_executable", None) or sys.executable
    full = sys.version.split()[0]
    key = hashlib.sha256(f"{full} {executable} {libdir}".encode()).hexdigest()[:12]
    compat = Path(__file__).resolve().parent / "cpy3_compat.h"

    out.mkdir(parents=True, exist_ok=True)
    (out / "taskerpy_python.h").write_text(
        f'#define TASKERPY_PYTHON_EXECUTABLE "{executable}"\n'
        f'#define TASKERPY_PYTHON_VERSION "{full}"\n'
    )
    (out / "python3.pc").write_text(
        "Name: python3\n"
        "Description: the Python that taskerpy embeds\n"
        f"Version: {full}\n"
        f"Libs: -L{libdir} -Wl,-rpath,{libdir} -l{name} -ldl -lm\n"
        f"Cflags: {includes} -I{out.resolve()} -include {compat} -Wno-deprecated-declarations\n"
    )
    (out / "env").write_text(
        f"export PKG_CONFIG_PATH={out.resolve()}{os.pathsep}$PKG_CONFIG_PATH\n"
        f"export CGO_CFLAGS='-O2 -g -DTASKERPY_PYTHON_KEY_{key}'\n"
    )


main()
