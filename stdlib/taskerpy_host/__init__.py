"""The Python half of the taskerpy host. Not for handlers: they use ``tasker_core``."""
