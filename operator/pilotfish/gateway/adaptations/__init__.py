"""Runs adaptation plugins: on what pools are asked, and on what they answer.

The order, for a router with plugins of both scopes:

1. The plugins of scope REQUEST see the client's request, in the router's order.
2. At every call of a pool, of the strategy, of a scorer or of another plugin, those of scope CALL see what the pool
   will be asked, in the router's order. The calls that a plugin of scope CALL makes itself pass through the others.
3. A judge that reads tokens sees the pool's own answer.
4. The plugins of scope CALL see the answer, in reverse order. A judge that reads whole answers, or the scorer or the
   plugin that made the call, gets what they release.
5. The plugins of scope REQUEST see the answer that is taken, in reverse order. The client gets what they release.

A plugin that fails, or takes longer than its timeout, affects its own request alone. With failurePolicy Ignore the
request continues as if the plugin did not exist: its input is restored, and what it held of an answer is released.
With Fail the request fails, and what was held is withheld.
"""
