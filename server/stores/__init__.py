"""Places for payloads, by name; `shared_models.table.load(STORES, "payload store", name)` gives the class."""

from __future__ import annotations

STORES = {
    "files": "server.stores.files:FilePayloadStore",
    "s3": "server.stores.s3:S3PayloadStore",
    "memory": "server.stores.memory:MemoryPayloadStore",
}
