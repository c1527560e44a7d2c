"""ConfigMaps that plugins read are read again, and their readers hear of changes."""

from pilotfish.base.keys import Key
from pilotfish.controller.config_maps import ConfigMapDigests
from pilotfish.kube.errors import Unavailable

BOOK, OTHER = (Key("ConfigMap", "team", name) for name in ("book", "other"))
ONE, TWO = (Key("AdaptationPlugin", "team", name) for name in ("one", "two"))


class Server:
    def __init__(self):
        self.data, self.read, self.down = {}, [], False

    async def find(self, _, namespace, name):
        key = Key("ConfigMap", namespace, name)
        self.read.append(key)
        if self.down:
            raise Unavailable("no answer")
        return {"metadata": {}, "data": self.data[key]} if key in self.data else None


async def test_readers_hear_of_a_change_and_of_nothing_else():
    server = Server()
    server.data = {BOOK: {"a": "1"}}
    digests = ConfigMapDigests(server)
    first = await digests.digests(ONE, [BOOK, OTHER])
    assert set(first) == {BOOK}
    assert await digests.digests(TWO, [BOOK]) == first
    assert await digests.look() == []

    server.data[BOOK] = {"a": "2"}
    server.down = True
    assert await digests.look() == []
    server.down = False
    assert sorted(await digests.look()) == [ONE, TWO]
    assert await digests.look() == []
    server.data[OTHER] = {}
    assert await digests.look() == [ONE]

    digests.forget(ONE)
    server.read.clear()
    assert await digests.look() == []
    assert server.read == [BOOK]
    assert await digests.digests(TWO, []) == {}
    server.read.clear()
    await digests.look()
    assert server.read == []
