"""`podtune init`: the right reading, or a question; never a wrong guess, nothing overwritten."""

from __future__ import annotations

import gzip
import io
import json
import pathlib
import random
import re
import sys

import pytest
import yaml

from podtune import command, init
from podtune.init import columns, questions
from trainer.errors import ConfigError
from trainer.settings.resolve import resolve

GOOD = "the room was bright and the staff kind, we will come again"
CHINESE = (
    "房间很干净，服务也好",
    "早餐一般，位置不错",
    "空调坏了，没有人来修",
    "前台态度很差，不会再住",
)
BAD = "the bed was broken and nobody came to mend it for days"


def texts(count: int = 40) -> list[tuple[str, str]]:
    """Texts that differ, and their labels."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        label, text = (("good", GOOD), ("bad", BAD))[number % 2]
        words = text.split()
        chance.shuffle(words)
        rows.append((" ".join(words), label))
    return rows


def written(file: pathlib.Path, rows, delimiter: str = ",", header: str | None = None):
    lines = [header] if header else []
    for row in rows:
        cells = [f'"{cell}"' if delimiter in cell else cell for cell in map(str, row)]
        lines.append(delimiter.join(cells))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def jsonl(file: pathlib.Path, rows) -> pathlib.Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return file


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*arguments: str, name: str = "new.yaml") -> dict:
    """What init writes, as the run will read it."""
    assert init.run([*arguments, f"--output={name}", "--yes"]) == 0
    resolve(pathlib.Path(name))
    return yaml.safe_load(pathlib.Path(name).read_text(encoding="utf-8"))


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as refused:
        init.run([*arguments, "--output=new.yaml", "--yes"])
    assert not pathlib.Path("new.yaml").exists()
    return str(refused.value)


@pytest.mark.parametrize(
    ("delimiter", "suffix", "data"),
    [
        (",", "csv", {"source": "csv"}),
        ("\t", "tsv", {"source": "tsv"}),
        (";", "csv", {"source": "csv", "delimiter": ";"}),
        ("|", "txt", {"source": "csv", "delimiter": "|"}),
        ("\t", "csv", {"source": "tsv"}),  # the content counts, not the name
    ],
)
def test_columns_are_found_whatever_parts_them(delimiter, suffix, data, here):
    written(here / f"reviews.{suffix}", texts(), delimiter, delimiter.join(["review", "stars"]))
    found = config(f"reviews.{suffix}")
    assert {key: found["data"].get(key) for key in data} == data
    assert (found["data"]["text"], found["data"]["label"]) == ("review", "stars")
    assert found["head"] == {"name": "classification"}


def test_the_order_of_columns_and_other_columns_do_not_matter(here):
    rows = [
        (n, label, f"2024-01-{n % 28 + 1:02d}", text) for n, (text, label) in enumerate(texts())
    ]
    written(here / "a.csv", rows, header="id,label,date,text")
    data = config("a.csv")["data"]
    assert (data["text"], data["label"]) == ("text", "label")


def test_a_file_without_a_header_is_seen_by_its_first_row(here):
    written(here / "a.tsv", [(label, text) for text, label in texts()], "\t")
    data = config("a.tsv")["data"]
    assert data["header"] is False
    assert data["columns"] == ["label", "text"]
    assert (data["text"], data["label"]) == ("text", "label")


def test_nothing_shows_whether_there_is_a_header(here):
    rows = [(text, f"{text} too") for text, _ in texts()]
    written(here / "a.tsv", rows, "\t", "one\ttwo")
    assert "The first row is: one, two. What is it?" in refusal("a.tsv")


def test_numbers_with_a_fraction_are_a_regression(here):
    rows = [(text, round(0.1 * n, 1)) for n, (text, _) in enumerate(texts())]
    written(here / "a.csv", rows, header="text,score")
    assert config("a.csv")["head"] == {"name": "classification", "kind": "regression"}


@pytest.mark.parametrize(
    "names", ["premise,hypothesis", "sentence1,sentence2", "#1 String,#2 String"]
)
def test_two_texts_that_are_called_so_are_a_pair(names, here):
    rows = [(text, text[::-1] + " x", label) for text, label in texts()]
    written(here / "a.csv", rows, "\t", "\t".join([*names.split(","), "label"]))
    assert config("a.csv")["data"]["text"] == names.split(",")


def test_two_texts_of_which_nothing_says_which(here):
    rows = [(text, text[::-1] + " x", label) for text, label in texts()]
    written(here / "a.tsv", rows, "\t", "left\tright\tlabel")
    said = refusal("a.tsv")
    assert "Which column is the text? It may be left or right or 'left,right'" in said
    assert "Say it with --text=COLUMN." in said
    assert config("a.tsv", "--text=right")["data"]["text"] == "right"
    assert config("a.tsv", "--text=left,right", name="b.yaml")["data"]["text"] == ["left", "right"]


def test_two_labels_of_which_nothing_says_which(here):
    rows = [(text, label, n % 3) for n, (text, label) in enumerate(texts(60))]
    written(here / "a.csv", rows, header="text,mood,group")
    assert "Which column is the label? It may be mood or group" in refusal("a.csv")
    assert config("a.csv", "--label=group")["data"]["label"] == "group"


def test_a_column_that_is_not_there_is_told(here):
    written(here / "a.csv", texts(), header="text,label")
    said = refusal("a.csv", "--text=body")
    assert said == "--text=body: there is no such column. There are: text, label."


def test_splits_beside_the_file_are_taken_where_they_have_the_label(here):
    for split in ("train", "dev"):
        written(here / f"{split}.tsv", texts(), "\t", "text\tlabel")
    written(here / "test.tsv", [(n, text) for n, (text, _) in enumerate(texts())], "\t", "n\ttext")
    data = config("train.tsv")["data"]
    assert data["validation"] == "dev.tsv"
    assert data["test"] == 0.1
    assert config(".", name="b.yaml")["data"]["train"] == "train.tsv"


def test_a_folder_of_which_no_file_is_the_one(here):
    for name in ("a", "b"):
        written(here / f"{name}.csv", texts(), header="text,label")
    (here / "c.csv").write_text("x\n")
    assert "which file is to be trained on cannot be told" in refusal(".")


def test_folders_are_classes(here):
    for number, (text, label) in enumerate(texts()):
        (here / "reviews" / label).mkdir(parents=True, exist_ok=True)
        (here / "reviews" / label / f"{number}.txt").write_text(text)
    found = config("reviews")
    assert found["data"]["source"] == "folders"
    assert found["data"]["train"] == "reviews"


@pytest.mark.parametrize(
    ("row", "head", "data"),
    [
        (
            {"tokens": ["We", "met", "Ann"], "ner_tags": ["O", "O", "B-PER"]},
            {"name": "token_classification"},
            {"text": "tokens", "label": "ner_tags"},
        ),
        (
            {"text": "We met Ann", "spans": [{"start": 7, "end": 10, "label": "PER"}]},
            {"name": "token_classification"},
            {"text": "text", "label": "spans"},
        ),
        (
            {"text": GOOD, "labels": ["clean", "kind"]},
            {"name": "classification", "kind": "multi_label"},
            {"text": "text", "label": "labels"},
        ),
        (
            {"question": "Who?", "context": "Ann.", "answers": [{"text": "Ann", "start": 0}]},
            {"name": "question_answering"},
            {"text": ["question", "context"], "label": "answers"},
        ),
    ],
)
def test_lists_show_the_task(row, head, data, here):
    jsonl(here / "a.jsonl", [row] * 12)
    found = config("a.jsonl")
    assert found["head"] == head
    assert {key: found["data"][key] for key in data} == data


def test_words_and_tags_in_columns_are_conll(here):
    sentence = "We O\nmet O\nAnn B-PER\nin O\nRome B-LOC\n\n"
    (here / "a.txt").write_text(sentence * 10)
    found = config("a.txt")
    assert found["head"] == {"name": "token_classification"}
    assert found["data"]["source"] == "conll"


@pytest.mark.parametrize("form", ["conll", "jsonl", "parallel"])
def test_chinese_words_have_no_blanks_between_them(form, here):
    words, tags = list("我在北京看雨"), ["O", "O", "B-LOC", "I-LOC", "O", "O"]
    if form == "conll":
        rows = "".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True))
        (here / "a.txt").write_text((rows + "\n") * 10)
    elif form == "jsonl":
        row = json.dumps({"words": words, "tags": tags}, ensure_ascii=False)
        (here / "a.txt").write_text(f"{row}\n" * 10)
    else:
        (here / "a.txt").mkdir()
        (here / "a.txt" / "seq.in").write_text(f"{' '.join(words)}\n" * 20)
        (here / "a.txt" / "seq.out").write_text(f"{' '.join(tags)}\n" * 20)
    assert config("a.txt")["head"] == {"name": "token_classification", "word_separator": ""}


def test_aligned_files_are_told_by_their_lines(here):
    (here / "d").mkdir()
    lines = [f"fly to rome{n}\nfrom pisa to bari{n}\n" for n in range(20)]
    (here / "d" / "seq.in").write_text("".join(lines))
    (here / "d" / "seq.out").write_text("O O B-to\nO B-from O B-to\n" * 20)
    found = config("d", name="first.yaml")
    assert found["head"] == {"name": "token_classification"}
    assert (found["data"]["text"], found["data"]["label"]) == ("seq.in", "seq.out")
    (here / "d" / "label").write_text("flight\nfare\n" * 20)
    said = refusal("d")
    assert "seq.in -> label: classification" in said
    assert "seq.in -> seq.out: token_classification" in said
    assert "seq.out ->" not in said


def test_squad_is_told_by_its_keys(here):
    answers = [{"text": "Ann", "answer_start": 0}]
    paragraph = {
        "context": "Ann came.",
        "qas": [{"id": "1", "question": "Who came?", "answers": answers}],
    }
    squad = {"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph] * 3}]}
    (here / "a.json").write_text(json.dumps(squad))
    assert config("a.json")["head"] == {"name": "question_answering"}


def test_text_alone_leaves_the_task_open(here):
    (here / "a.txt").write_text(f"{GOOD}. " * 3 + "\n" + f"{BAD}. " * 4 + "\n")
    assert "What is to be learnt? It may be masked_lm or causal_lm" in refusal("a.txt")
    assert config("a.txt", "--head=causal_lm")["head"] == {"name": "causal_lm"}


def test_a_part_of_a_text_file_can_be_held_out(here):
    (here / "a.txt").write_text(f"{GOOD}\n{GOOD}\n\n{BAD}\n\n" * 20)
    data = config("a.txt", "--head=causal_lm", name="one.yaml")["data"]
    assert (data["document"], data["validation"], data["test"]) == ("blank_line", 0.1, 0.1)


def test_a_file_is_one_document_where_validation_has_its_own(here):
    for split in ("train", "validation"):
        (here / f"{split}.txt").write_text(f"{GOOD}\n{GOOD}\n\n{BAD}\n\n" * 20)
    data = config("train.txt", "--head=causal_lm")["data"]
    assert (data["document"], data["validation"]) == ("file", "validation.txt")
    assert "test" not in data


def test_a_row_has_room_for_the_target_too(here):
    rows = [{"de": f"Kurz {n}.", "en": f"{GOOD} {n}. " * 3} for n in range(40)]
    jsonl(here / "a.jsonl", rows)
    found = config("a.jsonl", "--text=de", "--label=en", "--head=text_generation")
    assert found["data"]["text"] == "de"
    assert found["data"]["seq_len"] == 64  # of the text alone it were 32


def test_chinese_texts_get_a_chinese_model(here):
    rows = [("房间很干净，服务也好，下次还来" + "啊" * n, n % 2) for n in range(40)]
    written(here / "a.csv", rows, header="内容,标签")
    found = config("a.csv")
    assert found["backbone"]["weights"] == "hf://google-bert/bert-base-chinese"
    assert (found["data"]["text"], found["data"]["label"]) == ("内容", "标签")


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("gb18030", [(CHINESE[n % 4] + str(n), n % 2) for n in range(40)]),
        ("utf-8-sig", [(text, label) for text, label in texts()]),
        ("utf-16", [(text, label) for text, label in texts()]),
    ],
)
def test_the_encoding_is_found(encoding, rows, here):
    file = written(here / "a.csv", rows, header="text,label")
    file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    data = config("a.csv")["data"]
    assert (data["text"], data["label"]) == ("text", "label")
    assert data.get("fallback_encoding") == {"gb18030": "gb18030", "utf-16": "utf-16le"}.get(
        encoding
    )


def test_packed_files_are_read(here):
    file = written(here / "a.csv", texts(), header="text,label")
    (here / "a.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert config("a.csv.gz")["data"]["train"] == "a.csv.gz"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89PNG\0\0\0\0\r\n" * 40, "cannot be told"),
        ("what is it ||| SELECT a FROM b;\n" * 30, "seem to be parted by |||"),
        ("a b, c; d\n" * 30, "may be parted by commas or semicolons"),
    ],
)
def test_what_no_source_reads_is_refused(content, said, here):
    (here / "a.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refusal("a.txt")


def test_nothing_is_overwritten(here):
    written(here / "a.csv", texts(), header="text,label")
    (here / "a.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists already, and is left as it is"):
        init.run(["a.csv", "--yes"])
    assert (here / "a.yaml").read_text() == "mine"


def test_questions_are_asked_on_a_terminal(here, monkeypatch, capsys):
    rows = [(text, text[::-1] + " x", label) for text, label in texts()]
    written(here / "a.tsv", rows, "\t", "left\tright\tlabel")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("7\n2\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert command.main(["init", "a.tsv"]) == 0
    assert "Which column is the text?\n  1  left\n  2  right" in capsys.readouterr().out
    assert yaml.safe_load((here / "a.yaml").read_text())["data"]["text"] == "right"


def test_at_most_three_questions_are_asked(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n" * 4))
    asker = questions.Asker(may_ask=True)
    for _ in range(questions.MOST_QUESTIONS):
        assert asker.choose("Which?", ["a", "b"], "--flag") == "a"
    with pytest.raises(ConfigError, match="Say it with --flag"):
        asker.choose("Which?", ["a", "b"], "--flag")


def test_the_config_is_ten_lines_with_reasons(here):
    written(here / "a.csv", texts(), header="text,label")
    config("a.csv")
    lines = (here / "new.yaml").read_text().splitlines()
    assert lines[0] == "# a.csv: 2 columns between commas, UTF-8, 40 examples"
    assert lines[1] == "# label: 2 classes: good 20, bad 20"
    assert lines[2] == "#   podtune train new.yaml"
    assert len([line for line in lines if not line.startswith("#")]) <= 15


def test_an_example_is_copied(here, capsys):
    assert init.run(["--example=conll2003"]) == 0
    resolve(here / "conll2003.yaml")
    with pytest.raises(ConfigError, match="exists already"):
        init.run(["--example=conll2003"])
    with pytest.raises(ConfigError, match="Did you mean conll2003"):
        init.run(["--example=conl2003"])
    assert init.run(["--example=list"]) == 0
    assert "sst2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected DATA"),
        (["a", "b"], "expected one DATA. Received 2: a, b."),
        (["a", "--txt=x"], "unknown flag --txt=x. Did you mean --text?"),
        (["a", "--train.epochs=2"], "Settings go into the config"),
        (["a", "--head=classifier"], "--head: expected one of"),
        (["a", "--text=x,y,z"], "--text: expected one column, or two with a comma."),
        (["a", "--label="], "--label: no value."),
        (["nowhere.csv"], "nowhere.csv: there is no such file or folder."),
        (["tfds:"], "expected a name behind it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told(arguments, said, here):
    with pytest.raises(ConfigError, match=re.escape(said)):
        init.run(arguments)


@pytest.mark.parametrize(
    ("first", "rows", "is_header"),
    [
        (["text", "label"], [["a b", "x"]], True),
        (["ham", "see you"], [["ham", "ok then"], ["spam", "win"]], False),
        (["a plane takes off", "5.0"], [["a dog", "4"]], False),
        (["foo", "bar"], [["some words", "1"], ["others", "2"]], True),
        (["foo", "bar"], [["some words", "x"], ["others", "y"]], None),
    ],
)
def test_a_header_is_told(first, rows, is_header):
    assert columns.has_header(first, rows) is is_header
