"""Topic expressions and content filters as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorderd.events.filter import BadFilter, parse_condition, parse_items, parse_topics, property_value, topic_steps
from recorderd.model.ports import Event


@pytest.mark.parametrize(
    ("expression", "topic", "expected"),
    [
        ("tns1:RecordingConfig/JobState", "tns1:RecordingConfig/JobState", True),
        ("tns1:RecordingConfig", "tns1:RecordingConfig/JobState", False),
        ("tns1:RecordingConfig//.", "tns1:RecordingConfig/JobState", True),
        ("tns1:RecordingConfig//.", "tns1:RecordingConfig", True),
        ("tns1:RecordingConfig//.", "tns1:RecordingHistory/Track/State", False),
        ("tns1:A|tns1:RecordingConfig//.", "tns1:RecordingConfig/JobState", True),
        ("onvif:RuleEngine/axis:VMD3//.", "tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1", True),
        ("tns1:RuleEngine/VMD3//.", "tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1", True),
        ("tnsaxis:RuleEngine", "tns1:RuleEngine", False),
        ("tns1:Rule", "tns1:RuleEngine", False),
    ],
)
def test_topics(expression: str, topic: str, expected: bool) -> None:
    assert any(pattern.matches(topic_steps(topic)) for pattern in parse_topics(expression)) is expected


@pytest.mark.parametrize("expression", ["", "a b", "tns1:", "//.", "a//b", "x" * 2000, "tns1:A/"])
def test_bad_topics(expression: str) -> None:
    with pytest.raises(BadFilter):
        parse_topics(expression)


CAM1 = '//SimpleItem[@Name="device" and @Value="cam1"]'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", True),
        ("device=cam1", True),
        ("device=cam1, active=1", True),
        ("device=cam2", False),
        (f"boolean({CAM1})", True),
        ('boolean(//tt:SimpleItem[@Name="device" and @Value="cam2"])', False),
        (f'boolean({CAM1}) and boolean(//SimpleItem[@Name="active" and @Value="1"])', True),
        ("boolean(//SimpleItem[@Name='device' and @Value='1'])", False),
        ('not(//SimpleItem[@Name="device"])', False),
        ('//tt:Source/tt:SimpleItem[@Name="device" and (@Value="cam2" or @Value="cam1")]', True),
        ('(boolean(//SimpleItem[@Name="x"]) or boolean(//SimpleItem[not(@Name="device")]))', True),
    ],
)
def test_items(expression: str, expected: bool) -> None:
    assert parse_items(expression)((("device", "cam1"), ("active", "1"))) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "boolean(",
        "//Element[@Name='x']",
        "//SimpleItem[@Type='x']",
        "//SimpleItem[@Name=x]",
        "(" * 40,
        "a b",
        "x" * 2000,
    ],
)
def test_bad_items(expression: str) -> None:
    with pytest.raises(BadFilter):
        parse_items(expression)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_items, parse_topics):
        try:
            parse(text)
        except BadFilter as refusal:
            assert str(refusal)


def test_what_a_property_says() -> None:
    def value(operation: str, *data: tuple[str, str]) -> bool | None:
        return property_value(Event("t", (), data, operation))

    assert value("Changed", ("State", "true")) is True
    assert value("Initialized", ("active", "1")) is True
    assert value("Changed", ("active", "0")) is False
    assert value("Deleted", ("active", "1")) is False
    assert value("Changed", ("level", "7")) is None
    assert value("", ("active", "1")) is None


def test_a_condition_is_topic_and_items() -> None:
    condition = parse_condition("tns1:A//.", "x=1")
    assert condition.matches(Event("tns1:A/B", (("x", "1"),)))
    assert not condition.matches(Event("tns1:A/B", (("x", "2"),)))
