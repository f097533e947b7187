"""The configuration file: every mistake is answered in one line that names key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorderd.settings import Durability, Settings, SettingsError, load, parse

SHIPPED = Path(__file__).parent.parent / "config" / "recorderd.toml"


def test_nothing_is_a_configuration() -> None:
    assert parse(b"") == Settings()
    assert parse(b"").disk.durability is Durability.FLUSH
    assert 0 < parse(b"").media_ram_bytes() <= 512 << 20


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[disk]\npth = '/x'", "disk.pth: unknown key; did you mean path?"),
        ("[dsik]\npath = '/x'", "dsik: unknown key; did you mean disk?"),
        ("[limits]\nxyzzy = 1", "limits.xyzzy: unknown key; known here: media_ram_mib, recordings"),
        ("[disk]\nmedium = 'tape'", "disk.medium = 'tape': allowed are 'auto', 'hdd', 'ssd', 'sd', 'smr'"),
        ("[limits]\nmedia_ram_mib = 1", "limits.media_ram_mib = 1: allowed are whole numbers from 8 to 65536"),
        (
            "[limits]\nmedia_ram_mib = 'much'",
            "limits.media_ram_mib = 'much': allowed are whole numbers from 8 to 65536",
        ),
        ('[network.cameras]\nports = ["lan1", 2]', "network.cameras.ports[1] = 2: a string is expected"),
        (
            '[network.uplink]\ninterface = "eth0"\nipv4.mode = "dhpc"',
            "network.uplink.ipv4.mode = 'dhpc': allowed are 'dhcp', 'static', 'off'",
        ),
        ("[network.uplink]\nvlan = 3", "network.uplink = {'vlan': 3}: a table is expected, with interface"),
        (
            '[network.cameras]\nports = ["a"]\n[[network.cameras.allow]]\nreach = "all"',
            "network.cameras.allow[0].reach = 'all': allowed are",
        ),
        (
            '[network.cameras]\nports = ["a"]\nlabels.a = 1',
            "network.cameras.labels[...] = {'a': 1}: a string is expected",
        ),
        ('[network.cameras]\nportz = ["a"]', "network.cameras.portz: unknown key; did you mean ports?"),
        ("[network]\nmanage = 1", "network.manage = 1: allowed are true and false"),
        ("disk = 5", "disk = 5: a table is expected, with path, medium, durability"),
        ("[recorder]\nname = ''", "recorder.name = '': a string of at most 63 characters is expected"),
        ("[recorder]\nboard = '../x'", "recorder.board = '../x': a string that matches"),
        ("[disk", "not TOML: "),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_mistakes_are_named_in_one_line(text: str, line: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(text.encode())
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_bytes_that_are_not_text() -> None:
    with pytest.raises(SettingsError, match="not UTF-8 at byte 3"):
        parse(b"a =\xff")


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_the_shipped_configuration_is_valid_and_durable() -> None:
    settings = load(SHIPPED)
    assert settings.disk.durability is Durability.FLUSH
    assert not settings.network.manage
    assert "durability" not in SHIPPED.read_text()
