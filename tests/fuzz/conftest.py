"""The profiles of the fuzz tests: for parsers, and for runs of the whole program."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.scale import EXAMPLES, IS_LONG

# In the normal suite the same examples each time; a long run looks further.
_slow_is_fine = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, derandomize=not IS_LONG, suppress_health_check=_slow_is_fine
)
settings.register_profile(
    "fuzz-programs",
    max_examples=max(1, EXAMPLES // 10),
    deadline=None,
    derandomize=not IS_LONG,
    suppress_health_check=_slow_is_fine,
    # Each example is a run of the whole program: there is no time for making a failing one small.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
