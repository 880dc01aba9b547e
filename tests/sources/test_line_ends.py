r"""A line ends at \n or \r\n; where a file has only \r, at that; never mixed."""

import pytest

from trainer.sources import conll, csv, jsonl, open_source, parallel, text, tsv


def read(source, file, **settings):
    return list(open_source(source.Settings(train="x", **settings), "train", str(file)).examples())


def test_forty_pairs_with_a_lone_return_in_each_file_stay_forty(tmp_path):
    """At different lines: as line ends they would shift the pairs between them, and leave the
    counts equal.
    """
    german = [f"der rote film {number}" for number in range(40)]
    english = [f"we saw house {number}" for number in range(40)]
    german[3], english[32] = "der rote film 3\r mehr", "we saw house 32\r more"
    for name, lines in (("train.de", german), ("train.en", english)):
        (tmp_path / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    found = read(parallel, tmp_path / "train.*", text="de", label="en")
    assert [tuple(example.features.values()) for example in found] == list(
        zip(german, english, strict=True)
    )
    assert [example.origin.line for example in found] == list(range(1, 41))


@pytest.mark.parametrize(
    ("source", "name", "content", "expected"),
    [
        (text, "x.txt", "one\rtwo\nthree\n", [("one\rtwo",), ("three",)]),
        (text, "x.txt", "one\rtwo\r\nthree\r\n", [("one\rtwo",), ("three",)]),
        (text, "x.txt", "one\rtwo\rthree", [("one",), ("two",), ("three",)]),
        (conll, "x.conll", "a\rb O\nc B\n\nd O\n", [(["a\rb", "c"], ["O", "B"]), (["d"], ["O"])]),
        (conll, "x.conll", "a O\rc B\r\rd O\r", [(["a", "c"], ["O", "B"]), (["d"], ["O"])]),
        (
            csv,
            "x.csv",
            'text,label\na\rb,1\n"c\rd",2\n"e\r\nf\r",3\n',
            [("a\rb", "1"), ("c\rd", "2"), ("e\r\nf\r", "3")],
        ),
        (csv, "x.csv", "text,label\ra b,1\rc,2\r", [("a b", "1"), ("c", "2")]),
        (tsv, "x.tsv", "text\tlabel\na\rb\t1\r\nc\t2\n", [("a\rb", "1"), ("c", "2")]),
        (
            jsonl,
            "x.jsonl",
            '{"text": "a",\r "label": 1}\n{"text": "b", "label": 2}\n',
            [("a", 1), ("b", 2)],
        ),
        (
            jsonl,
            "x.jsonl",
            '{"text": "a", "label": 1}\r{"text": "b", "label": 2}',
            [("a", 1), ("b", 2)],
        ),
    ],
)
def test_every_format_ends_its_lines_alike(tmp_path, source, name, content, expected):
    (tmp_path / name).write_bytes(content.encode())
    found = read(source, tmp_path / name, **({"document": "line"} if source is text else {}))
    assert [tuple(example.features.values()) for example in found] == expected


def test_lines_are_numbered_as_editors_do(tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"text\tlabel\r\na\rb\t1\r\n\r\nc\t2\r\n")
    assert [example.origin.line for example in read(tsv, tmp_path / "x.tsv")] == [2, 4]
