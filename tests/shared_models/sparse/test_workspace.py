from __future__ import annotations

import threading

import torch

from shared_models.sparse.workspace import scratch


def test_memory_is_used_again_and_grows() -> None:
    like = torch.zeros(1)
    first = scratch("test", like, 10, 4)
    assert first.shape == (10, 4)
    assert scratch("test", like, 5, 8).data_ptr() == first.data_ptr()
    assert scratch("other", like, 10, 4).data_ptr() != first.data_ptr()
    assert scratch("test", like.double(), 10, 4).dtype == torch.float64
    assert scratch("test", like, 100, 4).shape == (100, 4)


def test_threads_do_not_share_and_inference_mode_does_not_matter() -> None:
    like, seen = torch.zeros(1), []
    with torch.inference_mode():
        own = scratch("modes", like, 3, 3)
    own.fill_(1.0)  # memory made in inference mode could not be written here
    thread = threading.Thread(target=lambda: seen.append(scratch("modes", like, 3, 3).data_ptr()))
    thread.start()
    thread.join()
    assert seen[0] != own.data_ptr()
