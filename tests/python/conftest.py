"""What all Python tests share: the fixtures that the package ships for its users."""

pytest_plugins = ["tasker_core.testing.plugin"]
