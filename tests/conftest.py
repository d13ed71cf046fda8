"""How hypothesis runs here: the same examples each time, and no limit on time, for machines are shared and noisy.

In `make test-storage` the examples are others each time.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

from rounds import LONG

# Examples would hang on which modules a worker has imported: hypothesis takes the constants that it finds in them.
if not LONG:
    no_constants = providers._local_constants  # empty, until they are looked for
    setattr(providers, "_get_local_constants", lambda: no_constants)  # noqa: B010 - of another module
settings.register_profile("suite", deadline=None, derandomize=not LONG, suppress_health_check=[HealthCheck.too_slow])
# `make mutants` asks whether an example fails, not for the smallest that does.
quick = (Phase.explicit, Phase.generate)
settings.register_profile("mutants", settings.get_profile("suite"), phases=quick, max_examples=60)
settings.load_profile("suite")

pytest_plugins = ["object_store"]
