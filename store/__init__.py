"""The object store: one protocol, its backends, digests, and records that are written once."""

from store.object_store import (
    AccessRefused,
    AlreadyExists,
    InvalidKey,
    NotFound,
    ObjectInfo,
    ObjectStore,
    RecordError,
    StoreError,
    StoreUnavailable,
    UnsuitableStore,
)
from store.open import open_store
from store.patience import be_patient
from store.uris import split_uri

__all__ = [
    "AccessRefused",
    "AlreadyExists",
    "InvalidKey",
    "NotFound",
    "ObjectInfo",
    "ObjectStore",
    "RecordError",
    "StoreError",
    "StoreUnavailable",
    "UnsuitableStore",
    "be_patient",
    "open_store",
    "split_uri",
]
