from __future__ import annotations

import pytest

from vehicle_client.token_bucket import TokenBucket


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    bucket = TokenBucket(100.0, 1000)
    assert bucket.wait_s(1000, 0.0) == 0.0
    bucket.take(1000, 0.0)
    assert bucket.wait_s(250, 0.0) == pytest.approx(2.5)
    assert bucket.wait_s(250, 1.0) == pytest.approx(1.5)
    assert bucket.wait_s(250, 2.5) == 0.0


def test_a_pause_gives_one_burst_and_no_more():
    bucket = TokenBucket(100.0, 1000)
    bucket.take(1000, 0.0)
    bucket.take(1000, 1e6)
    assert bucket.wait_s(1, 1e6) == pytest.approx(0.01)


def test_what_is_larger_than_the_burst_goes_when_the_bucket_is_full_and_is_paid_for_afterwards():
    bucket = TokenBucket(100.0, 1000)
    assert bucket.wait_s(3000, 0.0) == 0.0
    bucket.take(3000, 0.0)
    assert bucket.wait_s(3000, 0.0) == pytest.approx(30.0)


def test_in_the_long_run_no_more_than_the_rate_goes():
    bucket, now_s, sent = TokenBucket(1000.0, 500), 0.0, 0
    for _ in range(5000):  # half of them wait, the others send
        wait_s = bucket.wait_s(128, now_s)
        if wait_s <= 0:
            bucket.take(128, now_s)
            sent += 128
        now_s += wait_s
    assert now_s > 100.0
    assert now_s * 1000.0 - 128 <= sent <= now_s * 1000.0 + 500


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(100.0, 1000)
    bucket.take(1000, 50.0)
    assert bucket.wait_s(100, 0.0) == pytest.approx(1.0)


def test_without_a_rate_everything_goes():
    bucket = TokenBucket(None, 1)
    bucket.take(1 << 40, 0.0)
    assert bucket.wait_s(1 << 40, 0.0) == 0.0
