from __future__ import annotations

from upcycle.demo.page import ranges


def test_ranges_stand_between_nothing_and_all() -> None:
    interval = {"value": 50.0, "low": 0.0, "high": 100.0}
    svg = ranges.drawing([("Car", {"before": interval})])
    assert f'x1="{ranges.LEFT}.0" x2="{ranges.WIDTH - ranges.RIGHT}.0"' in svg
    middle = (ranges.LEFT + ranges.WIDTH - ranges.RIGHT) / 2
    assert f'cx="{middle}"' in svg
    assert ">Car<" in svg
