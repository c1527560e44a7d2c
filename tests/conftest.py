"""For all tests: properties are checked without a clock, as the machine may be busy."""

from hypothesis import HealthCheck, settings

settings.register_profile("pilotfish", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pilotfish")
