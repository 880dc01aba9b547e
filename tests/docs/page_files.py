"""Small data files of the form and the name that the pages of the documentation use.

Those that are written texts lie in tests/docs/files.
"""

from __future__ import annotations

import json
import pathlib
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = pathlib.Path(__file__).resolve().parent / "files"


def write_page_files(folder: pathlib.Path, page_text: str) -> None:
    """Those that a page names.

    A file in a folder is named by its folder: the whole of it is written.
    """
    if "configs/" in page_text:
        shutil.copytree(ROOT / "configs", folder / "configs")
    for name, content in FILES.items():
        if name.split("/")[0] in page_text:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
    for kept in KEPT.iterdir():
        if kept.name in page_text:
            copy = shutil.copytree if kept.is_dir() else shutil.copy
            copy(kept, folder / kept.name)


def _messages(count: int) -> Iterator[tuple[str, str]]:
    """Labels and messages, each different."""
    rng = random.Random(0)
    friends = ["See you at", "Ok, I am home by", "Call me after", "Lunch is at"]
    sellers = ["Free entry! Text WIN to", "You have won! Call", "Claim your prize, call"]
    for number in range(count):
        label, openings = [("ham", friends), ("spam", sellers)][number % 3 == 2]
        yield label, f"{rng.choice(openings)} {1000 + 7 * number}, {rng.choice('abcdefg')}"


def _reviews(count: int) -> Iterator[tuple[str, str]]:
    good = ["房间很干净", "早餐很丰富", "服务热情", "位置方便", "值得推荐"]
    bad = ["房间太吵", "服务很差", "早餐难吃", "设施陈旧", "不会再来"]
    rng = random.Random(1)
    for number in range(count):
        words = good if number % 2 else bad
        yield str(number % 2), f"{'，'.join(rng.sample(words, 3))}，一共住了{number}晚。"


TICKETS = (
    ("Card declined", "My card was declined at the shop today", "payments", "high"),
    ("Late parcel", "The parcel that I ordered has still not arrived", "delivery", "low"),
    ("Refund", "I sent the shoes back and would like my money now", "payments", "low"),
    ("Wrong size", "You sent me a jacket in another size", "delivery", "high"),
)


def _tickets() -> str:
    rows = [
        f"{subject} {number},{message} for {number} days,{team},{priority}"
        for number in range(6)
        for subject, message, team, priority in TICKETS
    ]
    return _lines(["subject,message,team,priority", *rows])


def _pairs(count: int) -> Iterator[tuple[str, str, int]]:
    """Two sentences, and whether they say the same."""
    for number in range(count):
        first = f"The company sold {number} shops in the north of the country last year."
        other = f"Rain fell for {number} days in the south."
        same = f"Last year {number} shops in the north were sold by the company."
        yield first, same if number % 2 else other, number % 2


def _mrpc(count: int) -> str:
    rows = [
        f"{same}\t{100 + number}\t{500 + number}\t{first}\t{second}"
        for number, (first, second, same) in enumerate(_pairs(count))
    ]
    return _lines(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *rows])


def _stsb(count: int) -> str:
    rng = random.Random(2)
    scores = [f"{4 * same + rng.random():.3f}" for _, _, same in _pairs(count)]
    pairs = zip(_pairs(count), scores, strict=True)
    return _lines(f"{first},{second},{score}" for (first, second, _), score in pairs)


def _film_reviews(count: int, labels: Sequence[str], odd: Sequence[str] = ()) -> str:
    words = {"negative": "dull and long", "positive": "bright and moving", "unsup": "about a war"}
    rows = []
    for number in range(count):
        label = labels[number % len(labels)]
        rows.append(f'{label},"Film {number} is {words[label]}, with {number} actors."')
    rows += [
        f'{label},"The actors of film {number} are great."' for number, label in enumerate(odd)
    ]
    return _lines(["label,text", *rows])


def _sentences(count: int, *, columns: int) -> str:
    """Words and their tags: of CoNLL-2003, or a Chinese character and its tag."""
    rows = []
    for number in range(count):
        if columns == 4:
            rows += ["Angela NNP B-NP B-PER", "Merkel NNP I-NP I-PER", "visited VBD B-VP O"]
            rows += ["Paris NNP B-NP B-LOC", f"{number} CD B-NP O", ". . O O", ""]
        else:
            rows += [f"{character} O" for character in f"{number}人在"]
            rows += ["北 B-LOC", "京 I-LOC", "看 O", "雨 O", ""]
    return _lines(rows)


def _requests(count: int, part: str) -> str:
    of_part = {
        "seq.in": "fly from boston to rome{n}",
        "seq.out": "O O B-from O B-to",
        "label": "flight",
    }
    other = {"seq.in": "fares to oslo{n}", "seq.out": "O O B-to", "label": "airfare"}
    rows = [(other if n % 2 else of_part)[part].format(n=n) for n in range(count)]
    return _lines(rows)


def _squad(count: int) -> str:
    paragraphs = []
    for number in range(count):
        context = f"The observatory was opened in {1800 + number} by Friedrich Struve on a hill."
        answer = {"text": str(1800 + number), "answer_start": context.index(str(1800 + number))}
        question = "When was the observatory opened?"
        asked = {"id": str(number), "question": question, "answers": [answer]}
        paragraphs.append({"context": context, "qas": [asked]})
    return json.dumps({"version": "1.1", "data": [{"title": "x", "paragraphs": paragraphs}]})


def _judged(count: int, work: str) -> str:
    words = ("dull", "fine")
    rows = [f"the {work} number {n} is {words[n % 2]}\t{n % 2}" for n in range(count)]
    return _lines(["sentence\tlabel", *rows])


def _json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    return _lines(json.dumps(row, ensure_ascii=False) for row in rows)


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _captions(count: int) -> str:
    words = [("Mann", "man"), ("Hund", "dog"), ("Junge", "boy")]
    rows = [
        {
            "de": f"Ein {words[n % 3][0]} sieht {n} Bälle.",
            "en": f"A {words[n % 3][1]} sees {n} balls.",
        }
        for n in range(count)
    ]
    return _json_lines(rows)


PLAY = (
    "ROMEO:\nO, she doth teach the torches to burn bright!\n\nJULIET:\nGood pilgrim, you wrong.\n\n"
)
WORDS = ["Jürgen", "Klopp", "left", "Liverpool", "for", "the", "U.S.", "in", "May", "."]
OBSERVATORY = "The observatory on the hill was opened on 19 August 1839."
SPLIT_SIZES = {"train": 300, "valid": 60, "test": 60}
FILES: Mapping[str, str] = {
    "sms.tsv": _lines(f"{label}\t{text}" for label, text in _messages(300)),
    "chnsenticorp.tsv": _lines(
        ["label\ttext_a", *(f"{label}\t{text}" for label, text in _reviews(300))]
    ),
    **{
        f"chnsenticorp/{split}.tsv": _lines(
            ["label\ttext_a", *(f"{label}\t{text}" for label, text in _reviews(count))]
        )
        for split, count in [("train", 80), ("dev", 20)]
    },
    "tickets.csv": _tickets(),
    "reviews.csv": _lines(["text,label", *(f'"{text}",{label}' for label, text in _messages(90))]),
    "data/sms_spam/sms.tsv": _lines(f"{label}\t{text}" for label, text in _messages(300)),
    "mrpc/train.tsv": _mrpc(60),
    "mrpc/dev.tsv": _mrpc(20),
    "intents.jsonl": _json_lines(
        {
            "text": f"flights and fares to oslo {n}" if n % 2 else f"fly to rome {n}",
            "labels": ["flight", "airfare"] if n % 2 else ["flight"],
        }
        for n in range(60)
    ),
    "reviews/train.csv": _film_reviews(
        160, ("negative", "positive", "unsup"), ("Positive", "postive", '"positive "', "", "")
    ),
    "reviews/test.csv": _film_reviews(40, ("negative", "positive")),
    "stsb/train.csv": _stsb(60),
    "stsb/validation.csv": _stsb(20),
    "stsb/test.csv": _stsb(20),
    **{
        f"conll2003/{split}.txt": _sentences(count, columns=4)
        for split, count in SPLIT_SIZES.items()
    },
    **{
        f"atis/{split}/{part}": _requests(count, part)
        for split, count in SPLIT_SIZES.items()
        for part in ("seq.in", "seq.out", "label")
    },
    "msra_ner/train.txt": _sentences(300, columns=2),
    "msra_ner/test.txt": _sentences(60, columns=2),
    "words.jsonl": _json_lines([{"words": WORDS}]),
    "squad/train-v1.1.json": _squad(60),
    "squad/dev-v1.1.json": _squad(40),
    "questions.jsonl": _json_lines(
        [{"question": "When was the observatory opened?", "context": OBSERVATORY}]
    ),
    "sst2/train.tsv": _judged(80, "film"),
    "sst2/dev.tsv": _judged(20, "play"),
    "precious/thesis.txt": "Three years of work.\n",
    "reviews_zh/train.txt": _lines(text for _, text in _reviews(200)),
    "reviews_zh/validation.txt": _lines(text for _, text in _reviews(20)),
    "scripts/make_small_gpt2.py": (ROOT / "scripts" / "make_small_gpt2.py").read_text("utf-8"),
    "shakespeare/train.txt": PLAY * 100,
    "shakespeare/validation.txt": PLAY * 20,
    "captions/train.jsonl": _captions(200),
    "captions/validation.jsonl": _captions(40),
    "captions/test.jsonl": _captions(40),
    "hotels.csv": _lines(["text,label", *(f"{text},{label}" for label, text in _reviews(60))]),
    "reviews.txt": _lines(
        f"Film {number} is {word} and {other}. The acting was {other}."
        for number in range(10)
        for word in ("long", "short", "old", "new", "dark", "bright", "slow", "quick")
        for other in ("good", "bad", "dull", "moving", "loud", "quiet")
    ),
}
