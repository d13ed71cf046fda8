"""How hypothesis runs here: the same examples each time, and no limit on time, for machines are shared and noisy."""

from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
