"""The only place that talks to model servers; their errors leave it as pilotfish.base.errors."""
