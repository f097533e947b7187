"""Speed and duplex of a link: ETHTOOL_GLINKSETTINGS (include/uapi/linux/ethtool.h), which anyone may ask."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass

SIOCETHTOOL = 0x8946
ETHTOOL_GLINKSETTINGS = 0x4C
SPEED_UNKNOWN = 0xFFFFFFFF
WORDS_AT = 15  # link_mode_masks_nwords; speed stands at 4, duplex at 8
BUFFER_BYTES = 48 + 3 * 4 * 127


@dataclass(frozen=True, slots=True)
class Speed:
    mbit_s: int
    full_duplex: bool

    @property
    def poor(self) -> bool:
        """A mismatch, as a rule: one side negotiates, the other was set by hand; or a broken pair of wires."""
        return not self.full_duplex or self.mbit_s <= 10


def speed_of(name: str) -> Speed | None:
    """None while there is no carrier or where the driver cannot say."""
    buffer = array.array("B", bytes(BUFFER_BYTES))
    address, _ = buffer.buffer_info()
    request = struct.pack("16sP16x", name.encode("ascii", "replace")[:15], address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            struct.pack_into("=I", buffer, 0, ETHTOOL_GLINKSETTINGS)
            fcntl.ioctl(sock, SIOCETHTOOL, request)  # the kernel answers with how many words it needs, negative
            words = -struct.unpack_from("=b", buffer, WORDS_AT)[0]
            if not 0 < words <= 127:
                return None
            struct.pack_into("=I", buffer, 0, ETHTOOL_GLINKSETTINGS)
            struct.pack_into("=b", buffer, WORDS_AT, words)
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError:
            return None
    speed, duplex = struct.unpack_from("=IB", buffer, 4)
    return None if speed in (0, SPEED_UNKNOWN) else Speed(speed, duplex == 1)
