"""What runs inside a pool's replicas, beside the engine. Ray imports it by name; nothing else of Pilotfish does."""
