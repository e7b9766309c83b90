"""Exceptions that code which expects an ``Exception`` with a text is not made for."""

import asyncio


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


ODD = [SystemExit(3), asyncio.CancelledError("over"), Unreadable()]
