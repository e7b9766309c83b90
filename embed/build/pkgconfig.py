"""Writes the pkg-config file with which Go builds against one Python.

Usage: PYTHON pkgconfig.py BUILD

Run with the Python to build for. Makes the folder BUILD/pyVERSION-KEY, prints
its path, and writes into it python3.pc (flags for cgo, both ours and cpy3's),
taskerpy_python.h (what the binary knows about the Python it was built for) and
env (variables for the shell). Prints one line and exits 3 if this Python cannot
be embedded.

The compatibility header reaches cpy3 through Cflags of the .pc file only: a
global -include would break runtime/cgo. Go's build cache does not notice a
changed .pc file, so CGO_CFLAGS carries a -D with the key, a hash of everything
that the .pc file depends on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

SUPPORTED = ((3, 10), (3, 13))


def fail(message: str, status: int = 3) -> NoReturn:
    print(f"taskerpy: {message}", file=sys.stderr)
    raise SystemExit(status)


def base_executable() -> Path:
    """This Python outside of any virtualenv; one path, whichever link started it."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def full_version() -> str:
    return sys.version.split()[0]


def check_version() -> None:
    version = sys.version_info
    if not SUPPORTED[0] <= version[:2] <= SUPPORTED[1]:
        fail(
            f"{base_executable()} is Python {version.major}.{version.minor}; taskerpy builds with "
            "3.10 to 3.13: choose one, for instance with `make PYTHON=python3.12 …`"
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        fail(f"{base_executable()} is a free-threaded build; taskerpy needs one with a GIL")


def library_dir(library: str) -> Path:
    """The folder that holds the shared libpython.

    The prefix comes first: a relocated Python, such as uv's, still has the
    LIBDIR of the machine it was made on.
    """
    var = sysconfig.get_config_var
    multiarch = var("MULTIARCH") or ""
    libdir = var("LIBDIR") or "/nonexistent"
    candidates = [
        Path(sys.base_prefix, "lib"),
        Path(sys.base_prefix, "lib", multiarch),
        Path(libdir),
        Path(libdir, multiarch),
        Path(var("LIBPL") or "/nonexistent"),
    ]
    for folder in candidates:
        if (folder / library).is_file():
            return folder
    fail(
        f"{base_executable()} (Python {full_version()}) has no shared {library}; use one that has: "
        f"Debian's with `apt-get install {package()}`, one of `uv python install`, or pyenv's with "
        f"`PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {full_version()}`"
    )


def include_dirs() -> list[Path]:
    paths = sysconfig.get_paths()
    include = Path(paths["include"])
    if not (include / "Python.h").is_file():
        fail(
            f"{include}/Python.h is missing; install the headers of this Python, "
            f"for Debian's: apt-get install {package()}"
        )
    return list(dict.fromkeys([include, Path(paths["platinclude"])]))


def package() -> str:
    """Debian's package of headers and libpython.so for this version."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}-dev"


def write(path: Path, text: str) -> None:
    """Writes in one step, since another make may be reading."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def main() -> None:
    if len(sys.argv) != 2:
        fail("usage: pkgconfig.py BUILD", 2)
    check_version()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libdir = library_dir(f"lib{name}.so")
    includes = include_dirs()
    compat = Path(__file__).with_name("cpy3_compat.h").read_text(encoding="utf-8")
    header = (
        f"#define TASKERPY_PYTHON_EXECUTABLE {json.dumps(str(base_executable()))}\n"
        f"#define TASKERPY_PYTHON_VERSION {json.dumps(full_version())}\n"
    )
    seed = "\n".join([header, str(libdir), *map(str, includes), compat])
    key = hashlib.sha256(seed.encode()).hexdigest()[:12]

    out = Path(sys.argv[1]).resolve() / f"py{full_version()}-{key}"
    out.mkdir(parents=True, exist_ok=True)
    write(out / "taskerpy_python.h", header)
    write(out / "cpy3_compat.h", compat)
    flags = " ".join(f"-I{escape(folder)}" for folder in [*includes, out])
    lib = escape(libdir)
    write(
        out / "python3.pc",
        "Name: python3\n"
        "Description: the Python that taskerpy embeds\n"
        f"Version: {full_version()}\n"
        f"Libs: -L{lib} -Wl,-rpath,{lib} -l{name} -ldl -lm\n"
        f"Cflags: {flags} -include cpy3_compat.h -Wno-deprecated-declarations\n",
    )
    write(
        out / "env",
        f"export PYTHON={shlex.quote(str(base_executable()))}\n"
        f'export PKG_CONFIG_PATH={shlex.quote(str(out))}"${{PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}}"\n'
        "export CGO_ENABLED=1\n"
        f"export CGO_CFLAGS='-O2 -g -DTASKERPY_PYTHON_KEY_{key}'\n",
    )
    print(out)


def escape(path: Path) -> str:
    """A path as pkg-config files have it."""
    return str(path).replace("\\", "\\\\").replace(" ", "\\ ")


main()
