"""What a database does for catalogue and run log: transactions, and nothing of what is in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from sqlalchemy import Connection
from sqlalchemy import exc as database_errors


class Database(ABC):
    """One open database with this build's schema. Safe to use from several threads."""

    name: str
    """What messages call it: a path, or a URL without its password."""

    @abstractmethod
    def transaction(
        self, *let_through: type[database_errors.SQLAlchemyError], is_writing: bool = False
    ) -> AbstractContextManager[Connection]:
        """A connection whose statements take effect together, or not at all; durable once the block has ended.

        is_writing: set it where something is read first and written then, or where the order of what is written
            counts: no other such transaction runs until this one has ended, in this process or another.

        Raises:
            StorageFullError: no space left. StorageError: anything else that fails, except `let_through`.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""
