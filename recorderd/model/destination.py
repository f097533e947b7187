"""Storage destinations (tds:StorageConfiguration). Passwords and tokens are write-only and not here."""

from __future__ import annotations

import msgspec

LOCAL, HTTP, S3 = "Local", "HTTP", "ObjectStorageS3"
EXPORT_TYPES = (LOCAL, HTTP, S3)
"""What exports can be written to. Local is a folder on the recorder's own second partition, HTTP a server that takes PUT."""

DESTINATION_TYPES = (*EXPORT_TYPES, "NFS", "CIFS", "CDMI", "FTP", "ObjectStorageAzure")
"""ONVIF's and ours. Those that are no export types are kept for clients that configure them, and said to be unused."""

PINNED = "sha256:"


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`storage_uri`: for S3 the bucket's URL, by path or by host name, for HTTP the folder's; both may go on with folders.
    `local_path`: for Local, below the exports' folder. `username`: the access key, or the user of Basic.
    `certificate_policy`: empty for the authorities of the system, or `sha256:` and the fingerprint of the one certificate to accept.
    """

    token: str
    type: str
    storage_uri: str = ""
    local_path: str = ""
    region: str = ""
    username: str = ""
    certificate_policy: str = ""
