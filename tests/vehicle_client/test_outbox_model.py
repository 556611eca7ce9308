"""The outbox against lists in memory, over random histories."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.vehicle_client.outbox_model import OutboxModel, look, scene
from vehicle_client.outbox import Outbox, OutboxConfig, Priority

NUMBERS, SIZES = st.integers(0, 7), st.sampled_from([0, 1, 100, 250, 600, 1001])
MEMORY = Path("/dev/shm")


class OutboxHistory(RuleBasedStateMachine):
    """Carries out each step on both and compares everything that can be seen."""

    @initialize(letters=st.integers(1, 3), dead_bytes=st.sampled_from([1, 300, 5000]))
    def make(self, letters: int, dead_bytes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.config = OutboxConfig(max_bytes=1000, max_dead_letters=letters, max_dead_bytes=dead_bytes)
        self.outbox, self.model = Outbox(self.folder, self.config), OutboxModel(self.config)

    @rule(number=NUMBERS, size=SIZES, priority=st.sampled_from(Priority))
    def put(self, number: int, size: int, priority: Priority) -> None:
        new = scene(number, size)
        assert self.outbox.put(new, priority) == self.model.put(new, priority)

    @rule(skipped=st.integers(0, 3))
    def look_for_the_next(self, skipped: int) -> None:
        order = self.model.order()
        found = self.outbox.next_pending(frozenset(order[:skipped]))
        assert (found.scene_id if found else None) == next(iter(order[skipped:]), None)

    @rule(index=st.integers(0, 3))
    def deliver(self, index: int) -> None:
        scene_id = self._some(index)
        assert self.outbox.mark_delivered(scene_id) == self.model.deliver(scene_id)

    @rule(index=st.integers(0, 3), reason=st.sampled_from(["codec", "integrity"]))
    def give_up(self, index: int, reason: str) -> None:
        scene_id = self._some(index)
        assert self.outbox.mark_dead(scene_id, reason) == self.model.die(scene_id, reason)

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = Outbox(self.folder, self.config)

    @invariant()
    def both_hold_the_same(self) -> None:
        assert look(self.outbox) == self.model.state()
        assert self.outbox.counts().pending_bytes <= self.config.max_bytes

    def _some(self, index: int) -> str:
        order = self.model.order()
        return order[index] if index < len(order) else scene(99, 10).manifest.scene_id

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            shutil.rmtree(self.folder)


TestOutboxHistory = OutboxHistory.TestCase
TestOutboxHistory.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
