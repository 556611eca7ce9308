"""An uploader in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared_models.errors import UpcycleError
from vehicle_client.upload_tally import UploadReport

logger = logging.getLogger(__name__)


class BackgroundUpload:
    """Sends beside a loop that makes scenes; made by `Uploader.in_background`, a context manager."""

    def __init__(self, work: Callable[[], UploadReport], drain: Callable[[], None], stop: Callable[[], None]) -> None:
        """`work` sends until it is told, by `drain`, to end when nothing is left, or by `stop` to end soon."""
        self._work, self._drain, self._stop = work, drain, stop
        self._error: UpcycleError | None = None
        self._report: UploadReport | None = None
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def __enter__(self) -> BackgroundUpload:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the sending thread, if anything did."""
        if self._error is not None:
            raise self._error

    def finish(self) -> UploadReport:
        """Wait until the outbox is empty; raises what `Uploader.run` raises."""
        self._drain()
        self._thread.join()
        self.check()
        if self._report is None:
            raise UpcycleError("the sending thread ended unexpectedly, see its traceback; the outbox has what is left")
        return self._report

    def _run(self) -> None:
        try:
            self._report = self._work()
        except UpcycleError as error:
            logger.warning("upload ended: %s", error)
            self._error = error
