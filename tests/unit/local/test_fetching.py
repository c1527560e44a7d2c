"""Files of this machine are looked at while a pool waits for them."""

import asyncio

from pilotfish.api import ModelPool
from pilotfish.local import fetching
from pilotfish.local.fetching import Fetcher


def pool(folder):
    spec = {
        "tier": "Small",
        "model": {"uri": f"file://{folder}/model"},
        "adapters": [{"name": "a", "model": {"uri": "pvc://shelf/adapter"}}],
        "replicas": 1,
    }
    return ModelPool.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": "p"}, "spec": spec}
    )


async def test_a_new_file_a_new_mode_and_a_new_content_are_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "FILES_POLL_SECONDS", 0.01)
    fetcher = Fetcher(tmp_path / "cache", lambda event: None, volumes={"shelf": tmp_path})
    adapter = tmp_path / "adapter"

    def make():
        (tmp_path / "model").mkdir()

    def fill():
        adapter.mkdir()
        (adapter / "weights").touch(mode=0o600)

    def open_up():
        (adapter / "weights").chmod(0o644)

    def rewrite():
        (adapter / "weights").write_text("other")

    def break_link():
        (adapter / "a link").symlink_to("nothing")
        (adapter / "pooling").mkdir()
        (adapter / "pooling" / "config.json").touch()

    def rewrite_below():
        (adapter / "pooling" / "config.json").write_text("{}")

    for change in (make, fill, open_up, rewrite, break_link, rewrite_below):
        before = await fetcher.files(pool(tmp_path))
        waiting = asyncio.create_task(fetcher.files_changed(pool(tmp_path), before))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        change()
        async with asyncio.timeout(30):
            await waiting


async def test_a_change_before_the_wait_began_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "FILES_POLL_SECONDS", 0.01)
    fetcher = Fetcher(tmp_path / "cache", lambda event: None)
    before = await fetcher.files(pool(tmp_path))
    (tmp_path / "model").mkdir()
    async with asyncio.timeout(30):
        await fetcher.files_changed(pool(tmp_path), before)
