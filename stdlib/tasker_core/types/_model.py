"""What the models of this package have in common."""

import threading
from typing import Any

from pydantic import BaseModel, ConfigDict

# Older releases of pydantic take a model apart while they build it, which
# another thread that validates at that moment would notice.
_building = threading.RLock()


class Model(BaseModel):
    """A pydantic model whose validator is built when it is first needed.

    A program uses few of the models, and building all validators would take
    as long as everything else that importing the package does.
    """

    model_config = ConfigDict(defer_build=True)

    @classmethod
    def model_rebuild(cls, *, _parent_namespace_depth: int = 2, **options: Any) -> bool | None:
        """Build the validator; see ``pydantic.BaseModel.model_rebuild``."""
        with _building:
            # This function is one frame more between pydantic and its caller.
            return super().model_rebuild(
                _parent_namespace_depth=_parent_namespace_depth + 1, **options
            )
