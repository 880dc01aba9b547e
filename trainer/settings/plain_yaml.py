"""YAML as settings need it: one small document of plain values, each with its line.

Read by PyYAML's safe loader, without what a config has no use for and a mistake or an attack
does: tags, merge keys, deep nesting, aliases that grow, numbers of thousands of digits, times of
day. Where a setting is text, a scalar is text as it is written: 007 keeps its zeros.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.error import Mark

from trainer.errors import shown_name, shown_value
from trainer.settings.annotations import Annotation, argument_of, kinds_of

DEEPEST = 20  # levels of nesting; a config has four
MOST_NODES = 30_000  # values and keys; each takes time to read
MOST_ALIASED = 1000  # nodes that all aliases together may stand for
PROBLEM_LENGTH = 200  # characters of the reader's own words
LONGEST_NUMBER = 400  # characters; the largest float has 309 digits
CORE_TAGS = {
    f"tag:yaml.org,2002:{kind}": kind
    for kind in ("str", "int", "float", "bool", "null", "seq", "map")
}
DIGITS, EXPONENT = "[0-9][0-9_]*", "[eE][-+]?[0-9]+"
FLOAT = re.compile(
    rf"[-+]?(?:(?:{DIGITS}\.[0-9_]*|\.{DIGITS})(?:{EXPONENT})?|{DIGITS}{EXPONENT}"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)")
FIRST_OF_NUMBERS = list("-+0123456789.")


class YamlProblemError(Exception):
    """A document is no YAML, or not plain; or a value is no plain one.

    Attributes:
        line: counted from 1; None where no line is known.
    """

    def __init__(self, said: str, line: int | None) -> None:
        super().__init__(said)
        self.line = line


def compose(text: str) -> yaml.Node | None:
    """The document's tree; None where it is empty.

    Raises:
        YamlProblemError: it is not valid YAML, or more than a config has use for.
    """
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise YamlProblemError(f"not valid YAML: {_explained(error, text, line)}", line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlProblemError(
            f"not valid YAML: the character U+{error.character:04X} is not allowed.", line
        ) from None
    except (ValueError, OverflowError):  # such as "\U00110000"
        line = loader.line + 1 if loader else None
        raise YamlProblemError("not valid YAML: an escape that names no character.", line) from None


def line_of(node: yaml.Node) -> int:
    """Counted from 1."""
    return node.start_mark.line + 1


def construct(node: yaml.Node, annotation: Annotation = Any) -> object:
    """A node's value.

    Args:
        annotation: the type of the setting that it is for, or a tuple of types; where it takes text
            and no number, numbers are text as written.
    Raises:
        YamlProblemError: it is no plain value.
    """
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, annotation)
    if isinstance(node, yaml.SequenceNode):
        element = argument_of(annotation, list, 0)
        return [construct(part, element) for part in node.value]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, annotation)


def parse(text: str, annotation: Annotation = Any) -> object:
    """The value of a flag. Raises YamlProblemError as `compose` and `construct` do."""
    node = compose(text)
    return None if node is None else construct(node, annotation)


def hint(text: str) -> str:
    """What a line that is no `key: value` was probably meant to be, as a sentence; or nothing."""
    if "：" in text:
        return " It has a full-width colon (：): write ': ', a colon of ASCII and a blank."
    if re.match(r"\s*[\w.]+\s*=", text):
        return " Write ': ' in place of '='."
    if re.match(r"\s*[\w.]+:[^\s/]", text):
        return " After the colon goes a blank."
    return ""


def _explained(error: yaml.MarkedYAMLError, text: str, line: int | None) -> str:
    problem = shown_name(error.problem or error.context or "", PROBLEM_LENGTH)
    if "document" in (error.context or "") and "another document" in problem:
        return "a second document begins. A config is one document: remove the line ---."
    lines = dict(enumerate(text.splitlines(), start=1))
    written = lines.get(line or 0, "")
    indentation = written[: len(written) - len(written.lstrip())]
    if "\t" in indentation:
        return f"{problem}. The line is indented with a tab: YAML wants blanks."
    before = lines.get((line or 0) - 1, "")
    return f"{problem}.{hint(written) or hint(before)}"


class _Loader(yaml.SafeLoader):
    """Refuses while the tree is made, so that nothing large is ever made of little."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0
        self._aliased = 0
        # of each anchor: the nodes below it, aliases counted in full
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node and what is below it."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self._count(event)
            return super().compose_node(parent, index)
        _refuse_tag(event)
        if self._depth == DEEPEST:
            raise _refusal(event, f"more than {DEEPEST} levels of brackets or indentation")
        before = self._nodes
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _refusal(
                event,
                f"more than {MOST_NODES:,} values. Is it data? Its path belongs in data.train",
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor:
            self._sizes[event.anchor] = self._nodes - before
        return node

    def _count(self, event: yaml.AliasEvent) -> None:
        anchor = event.anchor or ""
        if anchor in self.anchors and anchor not in self._sizes:
            raise _refusal(event, f"the alias *{shown_name(anchor, 40)} contains itself")
        size = self._sizes.get(anchor, 1)
        self._nodes += size
        self._aliased += size
        if self._aliased > MOST_ALIASED:
            raise _refusal(
                event,
                f"the aliases stand for more than {MOST_ALIASED:,} values. Write the values out",
            )


def _mark_of(event: yaml.Event) -> Mark:
    mark = event.start_mark
    assert isinstance(mark, Mark)  # as of each event of the loader that is written in Python
    return mark


def _refusal(event: yaml.NodeEvent, problem: str) -> yaml.composer.ComposerError:
    return yaml.composer.ComposerError(None, None, problem, _mark_of(event))


def _refuse_tag(event: yaml.NodeEvent) -> None:
    tag = getattr(event, "tag", None)
    if tag in (None, "!") or tag in CORE_TAGS:
        return
    raise YamlProblemError(
        f"not a plain YAML value: the tag {shown_value(tag)}. Tags are not read.",
        _mark_of(event).line + 1,
    )


# Numbers as YAML 1.2 and people write them: 1e-5 is one; 010, 1:30, 2020-01-01 and = are text.
INTEGER_RESOLVER = (
    "tag:yaml.org,2002:int",
    re.compile(rf"^(?:{INTEGER.pattern})$"),
    FIRST_OF_NUMBERS,
)
FLOAT_RESOLVER = (
    "tag:yaml.org,2002:float",
    re.compile(rf"^(?:{FLOAT.pattern})$"),
    FIRST_OF_NUMBERS,
)
REPLACED = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp", "value", "merge")}

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag not in REPLACED]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(*INTEGER_RESOLVER)
_Loader.add_implicit_resolver(*FLOAT_RESOLVER)


def _mapping(node: yaml.MappingNode, annotation: Annotation) -> dict[object, object]:
    if CORE_TAGS.get(node.tag) != "map":
        raise YamlProblemError(f"the tag {shown_value(node.tag)} on a mapping", line_of(node))
    key_type = argument_of(annotation, dict, 0)
    value_type = argument_of(annotation, dict, 1)
    found: dict[object, object] = {}
    for key_node, value_node in node.value:
        _require_name(key_node)
        key = _scalar(key_node, key_type)
        if key in found:  # YAML readers keep the last one and say nothing
            raise YamlProblemError(f"the key {shown_value(key)} is given twice", line_of(key_node))
        found[key] = construct(value_node, value_type)
    return found


def name_of(node: yaml.Node) -> str:
    """A key as it is written.

    Raises YamlProblemError for a list, a mapping, or YAML's merge key.
    """
    _require_name(node)
    return str(node.value)


def _require_name(node: yaml.Node) -> None:
    if not isinstance(node, yaml.ScalarNode):
        raise YamlProblemError("a key must be a name, not a list or a mapping", line_of(node))
    if node.value == "<<" and node.style is None:
        raise YamlProblemError("merge keys (<<) are not read. Write the keys out", line_of(node))


def _scalar(node: yaml.ScalarNode, annotation: Annotation) -> object:
    kind = CORE_TAGS.get(node.tag, "str")
    kinds, texts = kinds_of(annotation)
    takes_text_only = "str" in kinds and not {"int", "float"} & kinds
    is_plain_number = node.style is None and kind in ("int", "float")
    if kind == "str" or (is_plain_number and takes_text_only):
        return _whole_text(node)
    if kind == "bool" and node.value in texts:
        return _whole_text(node)
    if kind == "null":
        return None
    if kind == "bool":
        if node.value.lower() not in yaml.SafeLoader.bool_values:
            raise YamlProblemError(
                f"{shown_value(node.value)} is neither true nor false", line_of(node)
            )
        return yaml.SafeLoader.bool_values[node.value.lower()]
    return _number(node, kind)


def _number(node: yaml.ScalarNode, kind: str) -> int | float:
    if len(node.value) > LONGEST_NUMBER:
        raise YamlProblemError(f"a number of {len(node.value):,} digits", line_of(node))
    digits = node.value.replace("_", "").lower()
    try:
        return int(digits, 0) if kind == "int" else float(re.sub(r"\.(?=inf|nan)", "", digits))
    except ValueError:
        raise YamlProblemError(f"{shown_value(node.value)} is no number", line_of(node)) from None


def _whole_text(node: yaml.ScalarNode) -> str:
    """With the surrogate pairs of JSON put together."""
    try:
        return node.value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise YamlProblemError(
            "half of a surrogate pair, which is no character", line_of(node)
        ) from None
