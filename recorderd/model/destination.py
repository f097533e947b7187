"""Storage destinations (tds:StorageConfiguration). Passwords and tokens are write-only and not here."""

from __future__ import annotations

import msgspec

DESTINATION_TYPES = ("NFS", "CIFS", "CDMI", "FTP", "ObjectStorageS3", "ObjectStorageAzure")


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str
    type: str
    storage_uri: str = ""
    local_path: str = ""
    region: str = ""
    username: str = ""
    certificate_policy: str = ""
