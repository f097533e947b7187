"""The tables of ITU-T T.81 annex K that RFC 2435 senders leave out."""

from __future__ import annotations

# Tables K.1 and K.2, in zigzag order.
_LUMA = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933"
    "383740485c4e404457453738506d51575f626768673e4d71797064785c656763"
)
_CHROMA = bytes.fromhex("1112121815182f1a1a2f634238426363" + "63" * 48)

# Tables K.3 to K.6: how many codes of each length, then the values.
_DC_VALUES = bytes(range(12))
_LUMA_DC = bytes.fromhex("00010501010101010100000000000000") + _DC_VALUES
_CHROMA_DC = bytes.fromhex("00030101010101010101010000000000") + _DC_VALUES
_LUMA_AC = bytes.fromhex(
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_CHROMA_AC = bytes.fromhex(
    "00020102040403040705040400010277"
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8"
    "a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)


def _dht(number: int, table: bytes) -> bytes:
    return b"\xff\xc4" + (len(table) + 3).to_bytes(2, "big") + bytes((number,)) + table


HUFFMAN_SEGMENTS = _dht(0x00, _LUMA_DC) + _dht(0x10, _LUMA_AC) + _dht(0x01, _CHROMA_DC) + _dht(0x11, _CHROMA_AC)


def quantisation_tables(quality: int) -> bytes:
    """Both tables for a Q of 1 to 99 (RFC 2435 4.2), luma first; values past that are taken as 99."""
    quality = min(max(quality, 1), 99)
    scale = 5000 // quality if quality < 50 else 200 - quality * 2
    return bytes(min(max((value * scale + 50) // 100, 1), 255) for value in _LUMA + _CHROMA)
