"""How far down the spool servers have been asked for scenes, in this process and in those before it.

After its start a vehicle cannot know what of a scene a server holds already, and has to ask before it sends any of it.
It need not ask for scenes that nobody has begun yet.
"""

from __future__ import annotations

import sqlite3

from vehicle_client.disk_reserve import is_disk_full

STRIDE = 64  # scenes by which the mark on the disk runs ahead, so that it costs a commit for so many of them
_NAME = "begun_up_to"  # in the outbox's table of counters


class BegunMark:
    """The sequence number of the latest scene that may have been begun; lives in the outbox's database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Raises:
        sqlite3.Error: it cannot be read.
        """
        self._database = database
        row = database.execute("SELECT value FROM counters WHERE name = ?", (_NAME,)).fetchone()
        if row is None:  # a new spool, or an older build's, which may have begun all that wait
            row = database.execute("SELECT COALESCE(MAX(sequence), 0) FROM scenes").fetchone()
        self._found = self._written = int(row[0])

    def is_first(self, sequence: int) -> bool:
        """A scene is about to be begun; False where a process before this one may have begun it.

        Raises:
            OSError, sqlite3.Error: it cannot be written down, and the disk is not just full.
        """
        if sequence > self._written and not self._write(sequence + STRIDE):
            return False
        return sequence > self._found

    def _write(self, sequence: int) -> bool:
        try:
            with self._database:
                self._database.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (_NAME, sequence))
        except (OSError, sqlite3.Error) as error:
            if is_disk_full(error):
                return False  # sending makes room, so it goes on
            raise
        self._written = sequence
        return True
