"""Who is at the other end of a control connection, by the kernel's word, and what they may do."""

from __future__ import annotations

import errno
import grp
import os
import socket
import struct
from dataclasses import dataclass

from recorderd.protocol.interface import Access

OPERATOR_GROUP = "recorder"
VIEWER_GROUP = "recorder-view"
_UCRED = struct.Struct("@iII")
_SO_PEERGROUPS = 59  # asm-generic/socket.h; absent from Python's socket module
_GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups


@dataclass(frozen=True, slots=True)
class Peer:
    pid: int
    uid: int
    access: Access | None  # None: may call nothing

    def may(self, needed: Access) -> bool:
        return self.access is not None and self.access >= needed


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Default deny: root and the daemon's own user operate, then the two groups; a group that does not exist admits nobody."""

    operator_gid: int | None
    viewer_gid: int | None
    own_uid: int

    @classmethod
    def of_this_system(cls) -> AccessRules:
        return cls(_gid(OPERATOR_GROUP), _gid(VIEWER_GROUP), os.geteuid())

    def access(self, uid: int, gids: frozenset[int]) -> Access | None:
        if uid in (0, self.own_uid) or (self.operator_gid is not None and self.operator_gid in gids):
            return Access.OPERATE
        if self.viewer_gid is not None and self.viewer_gid in gids:
            return Access.VIEW
        return None

    def identify(self, connection: socket.socket) -> Peer:
        """The peer by SO_PEERCRED and SO_PEERGROUPS: its credentials when it connected. Raises OSError.

        Of a peer with more than 256 supplementary groups only the primary one counts.
        """
        pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        try:
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        except OSError as error:
            if error.errno != errno.ERANGE:
                raise
            groups = b""
        gids = frozenset(struct.unpack(f"@{len(groups) // 4}I", groups)) | {gid}
        return Peer(pid, uid, self.access(uid, gids))


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
