"""Plain YAML: what a config means by it, and what it has no use for."""

import time

import pytest
import yaml

from trainer.settings.plain_yaml import (
    DEEPEST,
    MOST_ALIASED,
    YamlProblemError,
    compose,
    construct,
    hint,
    parse,
)


def said(text, annotation=object):
    with pytest.raises(YamlProblemError) as caught:
        parse(text, annotation)
    return f"{caught.value.line}: {caught.value}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1_000", 1000),
        ("0x10", 16),
        ("0b11", 3),
        ("0.5", 0.5),
        ("5e-5", 5e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("2020-13-45", "2020-13-45"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("~", None),
        ("null", None),
        ("on", True),
        ("No", False),
        ("'3'", "3"),
        ("[1, a, {b: null}]", [1, "a", {"b": None}]),
        ("", None),
        ("!!str 7", "7"),
        ("!!int '7'", 7),
        ('"\\ud83d\\ude00"', "😀"),
        ("[&a x, *a]", ["x", "x"]),
    ],
)
def test_scalars_are_what_people_take_them_for(text, value):
    assert parse(text) == value and type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("007", str, "007"),
        ("1.50", str, "1.50"),
        ("1e3", str, "1e3"),
        ("0x1F", str | None, "0x1F"),
        ("null", str | None, None),
        ("[010, 1.0, a]", list[str], ["010", "1.0", "a"]),
        ("{1.0: 2.0}", dict[str, float] | None, {"1.0": 2.0}),
        ("1.5", float | str | None, 1.5),
        ("yes", str, True),
    ],
)
def test_where_a_setting_is_text_a_number_is_kept_as_written(text, annotation, value):
    assert parse(text, annotation) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!bool 7", "1: '7' is neither true nor false"),
        ("!!int x", "1: 'x' is no number"),
        ("!!float ''", "1: '' is no number"),
        (
            "a: !!set {b}",
            "1: not a plain YAML value: the tag 'tag:yaml.org,2002:set'. Tags are not read.",
        ),
        (
            "a:\n  !!python/object/apply:os.system [ls]",
            "2: not a plain YAML value: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("!!binary x", "not a plain YAML value"),
        ("!!timestamp x", "not a plain YAML value"),
        ("!x y", "the tag '!x'"),
        ("9" * 5000, "1: a number of 5,000 digits"),
        ('a: "\\U00110000"', "1: not valid YAML: an escape that names no character."),
        ('a: "\\ud800"', "1: half of a surrogate pair"),
        ("a: 1\nb: \x07", "2: not valid YAML: the character U+0007 is not allowed."),
        ("{a: 1, a: 2}", "1: the key 'a' is given twice"),
        ("a: {? [b] : c}", "1: a key must be a name, not a list or a mapping"),
        ("a: &x {b: 1}\nc: {<<: *x}", "2: merge keys (<<) are not read. Write the keys out"),
        (
            "a: 1\n---\nb: 2",
            (
                "2: not valid YAML: a second document begins. A config is one document: remove the"
                " line ---."
            ),
        ),
        (
            "a:\n\tb: 1",
            (
                "2: not valid YAML: found character '\\t' that cannot start any token. The line is"
                " indented with a tab: YAML wants blanks."
            ),
        ),
        (
            "a：\n  b: 1",
            "It has a full-width colon (：): write ': ', a colon of ASCII and a blank.",
        ),
        ("a:\n  b： 1\n  c: 2", "It has a full-width colon"),
        ("a: [1,\n", "2: not valid YAML: expected the node content, but found '<stream end>'."),
        ("*a", "1: not valid YAML: found undefined alias"),
        ("&a [*a]", "1: not valid YAML: the alias *a contains itself."),
    ],
)
def test_what_is_not_plain_is_refused_at_its_line(text, expected):
    assert expected in said(text)


def test_nesting_is_refused_before_the_tree_is_made():
    assert parse("[" * DEEPEST + "]" * DEEPEST)
    assert (
        said("[" * 100_000)
        == f"1: not valid YAML: more than {DEEPEST} levels of brackets or indentation."
    )
    assert "more than" in said("\n".join(" " * n + "a:" for n in range(1000)))


def test_a_document_of_very_many_values_is_refused():
    assert "1: not valid YAML: more than 30,000 values. Is it data?" in said(
        "[" + "a, " * 30_001 + "]"
    )


def test_aliases_that_grow_are_refused_before_they_are_expanded():
    levels = [
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]"
        for below, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    start = time.perf_counter()
    assert f"the aliases stand for more than {MOST_ALIASED:,} values" in said(
        "\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]", *levels])
    )
    assert time.perf_counter() - start < 10  # unfolded, it would never end


@pytest.mark.parametrize("value", ["1e5", "1E-3", "-2e+7", "0.5", "3", "0b1", "on", "~", "="])
def test_text_that_a_plain_scalar_would_not_be_is_quoted_when_it_is_written(value):
    from trainer.settings.one_line_yaml import as_yaml

    assert parse(as_yaml(value)) == value and yaml.safe_load(as_yaml(value)) == value


def test_hints():
    assert hint("epochs： 2").startswith(" It has a full-width colon")
    assert hint("  train.epochs = 2") == " Write ': ' in place of '='."
    assert hint("epochs:2") == " After the colon goes a blank."
    assert hint("gs://bucket") == hint("a plain text") == ""


def test_an_empty_document_is_none():
    assert compose("") is compose("# a comment\n") is None
    assert construct(compose("a: {b: 1}")) == {"a": {"b": 1}}
