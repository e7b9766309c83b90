"""The builtin module of the taskerpy binary: Python's one door into Go."""

def call(name: str, payload: bytes | None = None, /) -> bytes | None:
    """Enters the host with the GIL released.

    Raises RuntimeError or ValueError with the host's message, and RuntimeError
    in a forked child, where Go does not work.
    """
