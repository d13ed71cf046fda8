"""How hypothesis runs here: the same examples each time, and no limit on time, for machines are shared and noisy.

In `make test-storage` the examples are others each time.
"""

from hypothesis import HealthCheck, Phase, settings

from rounds import LONG

settings.register_profile("suite", deadline=None, derandomize=not LONG, suppress_health_check=[HealthCheck.too_slow])
# `make mutants` asks whether an example fails, not for the smallest that does.
quick = (Phase.explicit, Phase.generate)
settings.register_profile("mutants", settings.get_profile("suite"), phases=quick, max_examples=60)
settings.load_profile("suite")

pytest_plugins = ["object_store"]
