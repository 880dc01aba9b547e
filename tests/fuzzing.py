"""Mutations of configs and command lines: what typing errors, other tools and attackers make."""

from __future__ import annotations

import json
import pathlib
import random
import unicodedata
from collections.abc import Callable
from typing import Any

import yaml

from trainer.errors import HIDDEN, MESSAGE_LENGTH

# fmt: off
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 7, 0.5, 1e-300, 1e300, -0.0, float("inf"), float("-inf"),
    float("nan"), 10**18, -(10**18), 10**400, 2**31, 2**63, "", " ", "null", "nan", "1e400",
    "1_000", "0x10", "010", "1:30", "2020-01-01", "yes", "off", "a: b", "a #b", "- a", "&a", "*a",
    "!!bool 7", "%x", "@y", "`z", "'", '"', "\\", "\\x1b[2J", "\n", "a\nb", "\r", "\t", "\x85",
    "\u2028", "\ufeff", "\u202ebackwards", "\u200b", "\x1b[31m", "\x07", "\x9b", "文字", "：",
    "ｔｅｘｔ",
    "👩‍👩‍👧", "é", "e\u0301" * 50, "x" * 10_000, "~nosuchuser/x", "~", "gs://", "gs://b/x", "hf://",
    "hf://a/b", "pkg://", "pkg://x.y/z", "file://", "s3://b/x", "http://x", "/", "/dev/zero", "..",
    "a/" * 200, "n" * 300, "[a", "{a", "*", "**", "[", "]", "{{", "{text}", "{mask}", "%s", "$HOME",
    "[MASK]", "<s>", "savedmodel", "balanced", "auto", "on", [], {}, [[]], [None], [1, "a"],
    ["a"] * 50, [["a"]], {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {1: 2}, {True: False},
    {None: None}, [{"a": [1, {"b": []}]}],
]
RAW_VALUES = [
    "!!bool 7", "!!int x", "!!float ''", "!!binary x", "!!timestamp x", "!!set {a}", "!!omap [a]",
    "!!null x", "!!str [a]", "!!python/object/apply:os.system [ls]", "! x", "!x y", "&a [*a]",
    "*nowhere", "&a a", "{<<: {a: 1}}", "<<", "=", '"\\U00110000"', '"\\ud800"', '"\\ud83d\\ude00"',
    '"\\q"', '"open', "'open", "[" * 1000 + "]" * 1000, "[" * 30, "{" * 30, "{a: " * 50, "9" * 5000,
    "1" * 300 + ".5", "-" * 50, "? x", "? [a]", ": x", "|", ">", "|\n    text", "%YAML 3.0",
    "--- a", "... a", "\t1", "1\t", "1 # c", "#", "a:b:c", "a： b", "“x”", "{a: 1, a: 2}",
    "2020-13-45", "12:30:45", ".nan", "-.inf", "0o17", "0b12", "1__0", "@", "`", "x" * 100_000,
    "\x00", "\x01", "\x7f", "\ufffe", "\u2029", "\udcff",
]
ENCODINGS = [
    "utf-16", "utf-16-le", "utf-32", "gb18030", "big5", "shift_jis", "latin-1", "utf-7",
    "utf-8-sig",
]
ODD_FLAGS = [
    "--", "-", "---", "=", "--=", "--=x", "-x", "stray", "--help=maybe", "--nohelp", "--flagfile",
    "--flagfile=", "--flagfile=/nowhere", "--flagfile=/dev/zero", "--undefok=x", "--undefok",
    "--mode", "--mode=", "--mode=trian", "--mode=predict", "--mode=evaluate", "--mode=export",
    "--config=", "--config=/nowhere.yaml", "--config=/dev/zero", "--config=.",
    "--config=" + "c" * 5000, "--job_dir=", "--job_dir=/nowhere/x", "--input=x", "--output=-",
    "--train", "--train.", "--.epochs", "--train.epochs.x=1", "--no.x", "--notrain.epochs",
    "--nobackbone.freeze_embeddings=1", "--TRAIN.EPOCHS=1", "--\x1b[2J", "--训练.轮数=3",
    "--" + "y" * 50_000,
]
# fmt: on

Mutation = Callable[[random.Random, str], bytes]


def _replaced(rng: random.Random, text: str) -> bytes:
    """A value of the tree by one of another kind; a key by another."""
    tree = yaml.safe_load(text)
    places = [
        (keys, key)
        for keys in [tree, *(value for value in tree.values() if isinstance(value, dict))]
        for key in keys
    ]
    keys, key = rng.choice(places)
    if rng.random() < 0.25:
        keys[_renamed(rng, key)] = keys.pop(key)
    else:
        keys[key] = rng.choice(ODD_VALUES)
    try:
        return yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5, sort_keys=False).encode(
            "utf-8", "surrogatepass"
        )
    except RecursionError:
        return text.encode()


def _renamed(rng: random.Random, key: str) -> Any:
    letter = rng.randrange(len(key))
    return rng.choice(
        [
            key.upper(),
            key[:letter] + key[letter + 1 :],
            f"{key}.x",
            f" {key}",
            f"{key}\x1b[2J",
            f"{key}\u200b",
            f"ｘ{key}",
            7,
            None,
            True,
            1.5,
            "<<",
            key.replace("e", "е"),
            "a" * 3000,
            f"train.{key}",
        ]
    )  # the second e is Cyrillic


def _raw_value(rng: random.Random, text: str) -> bytes:
    lines = text.splitlines()
    number = rng.choice(
        [number for number, line in enumerate(lines) if ": " in line and not line.startswith("#")]
    )
    lines[number] = f"{lines[number].partition(': ')[0]}: {rng.choice(RAW_VALUES)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _lines(rng: random.Random, text: str) -> bytes:
    lines = text.splitlines()
    number = rng.randrange(len(lines))
    other = rng.randrange(len(lines))
    kind = rng.randrange(7)
    if kind == 0:
        lines.insert(number, lines[other])
    elif kind == 1:
        del lines[number]
    elif kind == 2:
        lines[number], lines[other] = lines[other], lines[number]
    elif kind == 3:
        lines[number] = rng.choice(["\t", " ", "   ", "\xa0", "\u3000", "- ", "? "]) + lines[number]
    elif kind == 4:
        lines[number] = lines[number].replace(":", rng.choice(["：", " =", ":", "::", ""]))
    elif kind == 5:
        lines.insert(
            number,
            rng.choice(
                [
                    "---",
                    "...",
                    "%TAG ! x",
                    "x",
                    "x: &x [1]",
                    "y: *x",
                    "{",
                    "]",
                    "zzz: 1",
                    "train:",
                    "head.name: x",
                ]
            ),
        )
    else:
        lines += [f"key_{line}: 1" for line in range(rng.choice([5, 500]))]
    return rng.choice(["\n", "\r\n", "\r"]).join(lines).encode()


def _bytes(rng: random.Random, text: str) -> bytes:
    content = bytearray(text.encode())
    for _ in range(rng.choice([1, 1, 2, 10])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def _cut(rng: random.Random, text: str) -> bytes:
    content = text.encode()
    return (
        content[: rng.randrange(len(content))]
        if rng.random() < 0.5
        else content[rng.randrange(len(content)) :]
    )


def _whole(rng: random.Random, text: str) -> bytes:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n"
        for below, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return rng.choice(
        [
            lambda: text.encode(rng.choice(ENCODINGS), "replace"),
            lambda: bomb.encode() + text.encode(),
            lambda: b"",
            lambda: b"# nothing\n",
            lambda: b"[" + text.encode() + b"]",
            lambda: b"- a\n- b\n",
            lambda: b"just words",
            lambda: text.encode() * 2,
            lambda: b"{}",
            lambda: b"null",
            lambda: b"x" * 600_000,
            lambda: (" " * 4 + text).encode(),
            lambda: text.replace(" ", "\u3000").encode(),
            lambda: b"\xff\xfe" + text.encode(),
            lambda: ("# 情感分类，训练\n" + text).encode("gb18030"),
        ]
    )()


MUTATIONS: list[Mutation] = [
    _replaced,
    _replaced,
    _replaced,
    _raw_value,
    _raw_value,
    _lines,
    _lines,
    _bytes,
    _cut,
    _whole,
]


def mutated_config(rng: random.Random, text: str) -> bytes:
    """A config with one mistake, or with some."""
    content = rng.choice(MUTATIONS)(rng, text)
    while rng.random() < 0.2:
        try:
            content = rng.choice(MUTATIONS)(rng, content.decode())
        except (
            UnicodeDecodeError,
            yaml.YAMLError,
            AttributeError,
            IndexError,
            ValueError,
            TypeError,
        ):  # it is none to be mutated any more
            return content
    return content


def mutated_flags(rng: random.Random, names: list[str], own: list[str]) -> list[str]:
    """Some arguments: settings with odd values, flags of the command's own, and what is no flag."""
    arguments = []
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        kind = rng.random()
        value = rng.choice(
            [*RAW_VALUES, *map(str, filter(lambda odd: odd != 10**400, ODD_VALUES))]
        ).replace("\x00", "")
        if kind < 0.6:
            arguments.append(f"--{rng.choice(names)}={value}")
        elif kind < 0.75:
            arguments.append(f"--{rng.choice(own)}={value}")
        else:
            arguments.append(rng.choice(ODD_FLAGS))
    return arguments


def mutated_cluster(rng: random.Random) -> str:
    """A TF_CONFIG or CLUSTER_SPEC with a mistake; sometimes without."""
    value: dict[str, Any] = {
        "cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]},
        "task": {"type": "worker", "index": 1},
    }
    keys = rng.choice([value, value["cluster"], value["task"], value["cluster"]])
    key = rng.choice([*keys, "ps", "evaluator", "workerpool2", "x"])
    keys[key] = rng.choice(
        [
            *(odd for odd in ODD_VALUES if not isinstance(odd, dict | int)),
            0,
            -1,
            True,
            {"a": 1},
            ["a:1"],
            ["d:1", "d:1"],
            "chief",
            "evaluator",
            5,
            -1,
            "0",
            "9" * 30,
        ]
    )
    text = json.dumps(value)
    return rng.choice(
        [
            text,
            text,
            text,
            text[: rng.randrange(len(text))],
            "[" * 5000,
            "null",
            "5",
            '"x"',
            "[]",
            "{}",
        ]
    )


def assert_clean(code: int, said: Any, case: str) -> None:
    """Exit code 0, or 2 with one message:
    bounded, without a control character, and nothing else.
    """
    assert code in (0, 2), case
    assert not any(
        unicodedata.category(ch) in HIDDEN and ch not in "\n\t" for ch in said.out + said.err
    ), case
    if code == 2:
        assert said.err.startswith("error: ") and said.out == "", case
        assert len(said.err) < MESSAGE_LENGTH + 100, case
        assert "Traceback" not in said.err, case


def configs(folder: pathlib.Path) -> list[str]:
    """The texts of the real configs."""
    return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))]
