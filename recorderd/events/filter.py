"""Filters on events: topic expressions (ONVIF core 9.6.3, ConcreteSet) and message content filters (core 9.4.4, ItemFilter).

The content filter is the XPath subset that clients really send, `boolean(//tt:SimpleItem[@Name="device" and @Value="cam1"])` joined by
`and`, `or`, `not()` and parentheses. A shorter form is understood too: `device=cam1, Rule=7`. Both are parsed once, when a job is
configured.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from recorderd.model.ports import Event

MAX_EXPRESSION_CHARS = 1024
_MAX_DEPTH = 16
_ALIASES = {"onvif": "tns1", "axis": "tnsaxis"}  # of Axis cameras' own filter syntax
_STEP = re.compile(r"(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)")

Items = tuple[tuple[str, str], ...]
Step = tuple[str, str]  # prefix or "", local name


class BadFilter(ValueError):
    """The expression cannot be understood; the text says where."""


def topic_steps(path: str) -> tuple[Step, ...]:
    """`tns1:RuleEngine/tnsaxis:VMD3/vmd3_video_1` as steps. Raises `BadFilter`."""
    steps = []
    for part in path.split("/"):
        match = _STEP.fullmatch(part.strip())
        if match is None:
            raise BadFilter(f"not a topic: {path!r}")
        prefix = match[1] or ""
        steps.append((_ALIASES.get(prefix, prefix), match[2]))
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """One alternative of a topic expression."""

    steps: tuple[Step, ...]
    subtree: bool  # ended in //.

    def matches(self, topic: tuple[Step, ...]) -> bool:
        """Prefixes count where both sides have one: peers differ in whether they repeat the parent's."""
        if len(topic) < len(self.steps) or (len(topic) > len(self.steps) and not self.subtree):
            return False
        return all(
            name == want and (not prefix or not asked or prefix == asked)
            for (asked, want), (prefix, name) in zip(self.steps, topic, strict=False)
        )


def parse_topics(expression: str) -> tuple[TopicPattern, ...]:
    """`a:B/C//. | a:D`. Raises `BadFilter`."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise BadFilter(f"a topic expression has at most {MAX_EXPRESSION_CHARS} characters")
    patterns = []
    for part in re.split(r"[|,]", expression):
        text = part.strip()
        subtree = text.endswith("//.")
        patterns.append(TopicPattern(topic_steps(text.removesuffix("//.")), subtree))
    return tuple(patterns)


Predicate = Callable[[Items], bool]
_TOKEN = re.compile(r"""\s*(?:(//|[()\[\]=@/])|"([^"]*)"|'([^']*)'|([A-Za-z_][\w.:-]*))""")
_PAIR = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*=\s*([^,=\"'\[\]()]*?)\s*")


class _Parser:
    """Recursive descent over the tokens of one ItemFilter expression."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise BadFilter(f"cannot read the filter at {text[at : at + 20]!r}")
            if match[1] is not None:
                self._tokens.append(("sign", match[1]))
            elif match[4] is not None:
                self._tokens.append(("word", match[4]))
            else:
                self._tokens.append(("text", match[2] if match[2] is not None else match[3]))
            at = match.end()
        self._at = 0
        self._depth = 0

    def whole(self) -> Predicate:
        result = self._either(self._term)
        if self._at != len(self._tokens):
            raise BadFilter(f"unexpected {self._tokens[self._at][1]!r} in the filter")
        return result

    def _peek(self, value: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at] in (("sign", value), ("word", value))

    def _accept(self, value: str) -> bool:
        if self._peek(value):
            self._at += 1
            return True
        return False

    def _need(self, value: str) -> None:
        if not self._accept(value):
            found = self._tokens[self._at][1] if self._at < len(self._tokens) else "the end"
            raise BadFilter(f"expected {value!r} instead of {found!r} in the filter")

    def _take(self, kind: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == kind:
            self._at += 1
            return self._tokens[self._at - 1][1]
        raise BadFilter(f"expected a {'name' if kind == 'word' else 'quoted value'} in the filter")

    def _either(self, term: Callable[[], Predicate]) -> Predicate:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadFilter("the filter is nested too deeply")
        terms = [self._both(term)]
        while self._accept("or"):
            terms.append(self._both(term))
        self._depth -= 1
        return terms[0] if len(terms) == 1 else lambda items: any(t(items) for t in terms)

    def _both(self, term: Callable[[], Predicate]) -> Predicate:
        terms = [term()]
        while self._accept("and"):
            terms.append(term())
        return terms[0] if len(terms) == 1 else lambda items: all(t(items) for t in terms)

    def _term(self) -> Predicate:
        if self._accept("not"):
            return self._negated(self._term)
        if self._accept("boolean"):
            self._need("(")
            inner = self._either(self._term)
            self._need(")")
            return inner
        if self._accept("("):
            inner = self._either(self._term)
            self._need(")")
            return inner
        return self._path()

    def _negated(self, term: Callable[[], Predicate]) -> Predicate:
        self._need("(")
        inner = self._either(term)
        self._need(")")
        return lambda items: not inner(items)

    def _path(self) -> Predicate:
        """`//tt:SimpleItem[...]`, also below `tt:Source`, `tt:Key` or `tt:Data`."""
        self._need("//")
        last = self._take("word")
        while self._accept("/") or self._accept("//"):
            last = self._take("word")
        if last.rpartition(":")[2] != "SimpleItem":
            raise BadFilter(f"only SimpleItem can be filtered on, not {last!r}")
        self._need("[")
        inner = self._either(self._comparison)
        self._need("]")
        return lambda items: any(inner((item,)) for item in items)

    def _comparison(self) -> Predicate:
        if self._accept("not"):
            return self._negated(self._comparison)
        if self._accept("("):
            inner = self._either(self._comparison)
            self._need(")")
            return inner
        self._need("@")
        attribute = self._take("word")
        if attribute not in ("Name", "Value"):
            raise BadFilter(f"only @Name and @Value can be compared, not @{attribute}")
        self._need("=")
        wanted = self._take("text")
        place = 0 if attribute == "Name" else 1
        return lambda items: items[0][place] == wanted


def parse_items(expression: str) -> Predicate:
    """A content filter as a function of an event's items. Raises `BadFilter`."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise BadFilter(f"a content filter has at most {MAX_EXPRESSION_CHARS} characters")
    if not expression.strip():
        return lambda _: True
    pairs = [_PAIR.fullmatch(part) for part in expression.split(",")]
    if all(pairs):
        wanted = [(match[1], match[2]) for match in pairs if match is not None]
        return lambda items: all(pair in items for pair in wanted)
    return _Parser(expression).whole()


@dataclass(frozen=True, slots=True)
class Condition:
    """A topic expression and a content filter, ready to use. No topics: all."""

    topics: tuple[TopicPattern, ...]
    items: Predicate

    def listens_to(self, topic: str) -> bool:
        steps = event_steps(topic)
        return not self.topics or any(p.matches(steps) for p in self.topics)

    def matches(self, event: Event) -> bool:
        return self.items(event.source + event.data) and self.listens_to(event.topic)


def parse_condition(topic: str, source: str = "") -> Condition:
    return Condition(parse_topics(topic), parse_items(source))


_known_steps: dict[str, tuple[Step, ...]] = {}


def event_steps(topic: str) -> tuple[Step, ...]:
    """`topic_steps` of an event that is on its way, remembered: there are few topics and many events."""
    steps = _known_steps.get(topic)
    if steps is None:
        if len(_known_steps) > 1000:
            _known_steps.clear()
        steps = _known_steps[topic] = topic_steps(topic)
    return steps


_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})


def property_value(event: Event) -> bool | None:
    """What a property event says: True, False, or None for a non-property event and for a property without a truth value."""
    if not event.operation:
        return None
    if event.operation == "Deleted":
        return False
    values = {value.lower() for _, value in event.data}
    if values & _TRUE:
        return True
    return False if values & _FALSE else None


def item(items: Items, name: str) -> str:
    """The value of the first item with this name, or an empty string."""
    return next((value for key, value in items if key == name), "")
