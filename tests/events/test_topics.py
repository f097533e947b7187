"""Every topic that the recorder tells by itself stands in the table of `recorderd/events/README.md`, and nothing else does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import recorderd
from recorderd.events.filter import topic_steps

ROOT = Path(recorderd.__file__).parent
README = ROOT / "events" / "README.md"
TOPIC = re.compile(r"(tns1|tnsaxis):[A-Za-z]\w*(/[\w:]+)+")
_OF_CAMERAS = {"motion.py", "camera_xml.py", "camera_json.py", "filter.py"}


def in_code() -> set[str]:
    """Constants that are a whole topic."""
    found = set()
    for path in ROOT.rglob("*.py"):
        if path.name in _OF_CAMERAS or path.is_relative_to(ROOT / "ctl"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and TOPIC.fullmatch(node.value):
                found.add(node.value)
    return found


def in_table() -> set[str]:
    found = set()
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = line.split("|")
        if len(cells) != 6 or "`" not in cells[1]:
            continue
        before = ""
        for name in re.findall(r"`([^`]+)`", cells[1]):
            topic = before.rpartition("/")[0] + name if name.startswith("/") else name
            before = topic
            found.add(topic if topic.startswith("tnsaxis:") else f"tns1:{topic}")
    return found


def test_the_table_has_every_topic_and_no_other() -> None:
    assert in_code() == in_table()
    for topic in in_table():
        topic_steps(topic)


def test_every_topic_is_used_where_the_table_says() -> None:
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = line.split("|")
        if len(cells) == 6 and "`" in cells[1]:
            (where,) = re.findall(r"`([^`]+)`", cells[4])
            assert (ROOT / where).exists(), line
