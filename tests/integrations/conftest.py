"""What both plugs are held to: a shape seen before compiles nothing."""

import jax
import pytest


@pytest.fixture(scope="module")
def compilations():
    """How many programs were compiled so far, by a call."""
    counted = []

    def count(event, _, **__):
        counted.append(event == "/jax/core/compile/backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(count)
    yield lambda: sum(counted)
    jax.monitoring.unregister_event_duration_listener(count)
