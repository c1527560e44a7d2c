"""What runs in a pool's pod: a Ray of its own with a guardian, the engine in it, and readiness.

`pilotfish serve-pool` and local mode run the same Ray. `server` is what Ray itself imports by name, in the engine's
process. With it, `own_log`, `vocabularies` and `logits` are loaded there, and the logits plugins of the pool.
"""
