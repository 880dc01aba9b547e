"""Files that are not UTF-8: a wrong name is never given, the command that is printed gives the
text, data.fallback_encoding reads it.
"""

import random
import re
import subprocess

import pytest

from trainer.errors import DataError
from trainer.sources import (
    _encodings,
    conll,
    csv,
    folders,
    jsonl,
    open_source,
    parallel,
    squad,
    text,
    tsv,
)

SENTENCES = {
    "German": (
        "Der Müller fährt übermorgen nach Köln.|Die Straße ist schön, aber zu groß für Autos.|Zwölf"
        " Boxkämpfer jagen Viktor quer über den Sylter Deich."
    ),
    "French": (
        "L'été dernier, nous avons mangé des crêpes près de la mer.|Où est passée la clé du garçon"
        " ?|Le déjeuner coûte 15 euros à Nîmes."
    ),
    "Spanish": (
        "El niño comió una manzana en el jardín.|¿Dónde está la estación de autobús?|Mañana iré a"
        " la montaña con mis compañeros."
    ),
    "English": "It’s a “great” film – really.|The ticket is £15.80 at the café.",
    "Polish": (
        "Nie mogę znaleźć książki, którą kupiłem wczoraj.|Żółta łódź płynie po rzece.|Dziękuję"
        " bardzo za pomoc."
    ),
    "Czech": (
        "Příliš žluťoučký kůň úpěl ďábelské ódy.|Tento film se mi velmi líbil, herci byli"
        " skvělí.|Zítra pojedeme vlakem."
    ),
    "Hungarian": (
        "Ez a könyv nagyon jó volt, őszintén szólva.|A fűtés nem működött.|Holnap vonattal megyünk"
        " Győrbe, esőben."
    ),
    "Turkish": (
        "Bu film çok güzeldi, oyuncular şahane.|İstanbul'da hava bugün yağmurlu.|Kitabı okudum ve"
        " beğenmedim."
    ),
    "Russian": (
        "Фильм очень понравился, игра актеров на высоте.|Ужасная книга, не советую никому"
        " читать.|Завтра мы поедем в Москву на поезде."
    ),
    "Chinese": (
        "这部电影非常好看，我很喜欢。|今天北京的天气很好，我们去公园走走。|服务态度不好，"
        "下次不会再来了。|房间很小，但是价格便宜。"
    ),
    "Taiwanese": (
        "這部電影非常好看，我很喜歡。|今天台北的天氣很好，我們去公園走走。|服務態度不好，下次不會再來了。"
    ),
    "Japanese": (
        "この映画はとても面白かったです。|東京の天気は今日も晴れです。|サービスが悪くて、"
        "二度と行きたくない。|彼女は新しい本を読んでいる。"
    ),
    "Korean": (
        "이 영화는 정말 재미있었습니다.|오늘 서울의 날씨는 맑습니다.|서비스가 나빠서 다시는 가고"
        " 싶지 않아요.|그는 새로운 책을 읽고 있다."
    ),
    "Greek": (
        "Η ταινία ήταν πολύ καλή.|Αύριο θα πάμε στην Αθήνα με το τρένο.|Ο καιρός σήμερα είναι"
        " ωραίος."
    ),
}
WRITTEN = [
    (language, encoding, name)
    for language, encodings in {
        "German": (
            "windows-1252=WINDOWS-1252 iso-8859-1=WINDOWS-1252 mac_roman=MACINTOSH cp850=CP850"
        ),
        "French": "windows-1252=WINDOWS-1252 mac_roman=MACINTOSH",
        "Spanish": "windows-1252=WINDOWS-1252 iso-8859-1=WINDOWS-1252",
        "English": "windows-1252=WINDOWS-1252",
        "Polish": "cp1250=WINDOWS-1250 iso8859_2=ISO-8859-2",
        "Czech": "cp1250=WINDOWS-1250 iso8859_2=ISO-8859-2",
        "Hungarian": "cp1250=WINDOWS-1250",
        "Turkish": "cp1254=WINDOWS-1254",
        "Russian": "cp1251=WINDOWS-1251 koi8-r=KOI8-R iso8859_5=ISO-8859-5 cp866=CP866",
        "Chinese": (
            "gb18030=GB18030 gb2312=GB18030 utf-16=UTF-16LE utf-16-le=UTF-16LE utf-16-be=UTF-16BE"
        ),
        "Taiwanese": "big5=BIG5 gb18030=GB18030",
        "Japanese": "shift_jis=SHIFT_JIS euc-jp=EUC-JP utf-16-le=UTF-16LE",
        "Korean": "euc-kr=EUC-KR cp949=EUC-KR utf-16-be=UTF-16BE",
        "Greek": "cp1253=WINDOWS-1253",
    }.items()
    for encoding, name in (pair.split("=") for pair in encodings.split())
]


def of(language):
    return "\n".join(SENTENCES[language].split("|")) + "\n"


def refusal(file, source=text, **settings):
    with pytest.raises(DataError) as caught:
        list(
            open_source(source.Settings(train=str(file), **settings), "train", str(file)).examples()
        )
    return str(caught.value)


@pytest.mark.parametrize(("language", "encoding", "name"), WRITTEN)
def test_an_encoding_is_named_and_the_command_gives_the_text(tmp_path, language, encoding, name):
    (tmp_path / "OLD").write_bytes(of(language).encode(encoding))
    message = refusal(tmp_path / "OLD")
    assert (
        f"It looks like {name}" in message
        and f"Set data.fallback_encoding: {name}, or re-encode the file: iconv -f {name} "
        in message
    )
    subprocess.run(
        message.partition("re-encode the file: ")[2], shell=True, check=True, cwd=tmp_path
    )
    (example,) = open_source(text.Settings(train="x"), "train", str(tmp_path / "NEW")).examples()
    assert example.features["text"] == of(language)
    (example,) = open_source(
        text.Settings(train="x", fallback_encoding=name), "train", str(tmp_path / "OLD")
    ).examples()
    assert example.features["text"] == of(language)


OTHERS = {
    "German": ["mac_roman", "cp850"],
    "Spanish": ["mac_roman", "cp850"],
    "Russian": ["mac_cyrillic"],
    "Greek": ["mac_greek", "cp737"],
    "Turkish": ["cp857"],
    "Polish": ["cp852", "mac_latin2"],
    "Korean": ["johab"],
    "Japanese": ["iso2022_jp"],
}


def test_no_wrong_name_is_given_for_any_number_of_lines():
    """Also where an encoding is none that is known here, or the lines are few."""
    draw = random.Random(0)
    written = [(language, encoding) for language, encoding, _ in WRITTEN] + [
        (language, other) for language, others in OTHERS.items() for other in others
    ]
    named = 0
    for language, encoding in written:
        lines = SENTENCES[language].split("|")
        for size in range(1, len(lines) + 1):
            for words in (1, 3, 99):
                content = "\n".join(
                    " ".join(line.split()[:words]) for line in draw.sample(lines, size)
                ).encode(encoding, "ignore")
                name = _encodings.guess(lambda content=content: [content]).encoding
                if name is not None and not content.isascii():
                    named += 1
                    assert content.decode(name).lstrip("\ufeff") == content.decode(encoding).lstrip(
                        "\ufeff"
                    ), (language, encoding, name, content)
    assert named > 200


def test_where_it_cannot_be_told_no_name_is_given(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"abc\nx\x81\x8dz \xff\xfe\n")
    message = refusal(tmp_path / "x.txt")
    assert (
        "x.txt:1: not UTF-8: byte 0x81" not in message
        and "x.txt:2: not UTF-8: byte 0x81 at byte 5 of the file" in message
    )
    assert (
        "Its encoding cannot be told from its bytes. Find it out, then set data.fallback_encoding"
        " to its name, or re-encode the file" in message
    )
    assert re.search("iconv -f ENCODING", message)


def test_the_case_of_two_latin_lines(tmp_path):
    """One umlaut and one diaeresis: as GB18030 they are two rare ideographs."""
    (tmp_path / "latin1.tsv").write_bytes(
        "Müller ist da\tPER\nnaïve approach\tMISC\n".encode("latin-1")
    )
    message = refusal(tmp_path / "latin1.tsv", tsv, header=False, columns=["text", "label"])
    assert f"{tmp_path}/latin1.tsv:1: not UTF-8: byte 0xfc at byte 1 of the file" in message
    assert (
        "It looks like WINDOWS-1252 (Müller ist da\\tPER). Set data.fallback_encoding:"
        " WINDOWS-1252, or re-encode" in message
    )


def test_a_file_of_two_encodings_is_not_converted_as_a_whole(tmp_path):
    (tmp_path / "x.txt").write_bytes(
        "Grüße aus Köln\n今天天气很好\n".encode() + "Müller\n".encode("latin-1")
    )
    message = refusal(tmp_path / "x.txt", document="line")
    assert (
        "x.txt:3: not UTF-8" in message
        and "Other lines are UTF-8, such as line 1, so that no one encoding fits the file"
        in message
    )
    assert "iconv" not in message
    message = refusal(tmp_path / "x.txt", fallback_encoding="latin-1")
    assert (
        "x.txt:1: this line is UTF-8, and others are not, so that data.fallback_encoding: latin-1"
        " would spoil it" in message
    )


def test_utf16_of_ascii_is_no_text_with_nul_characters(tmp_path):
    (tmp_path / "x.csv").write_bytes("text,label\na film,pos\n".encode("utf-16-le"))
    message = refusal(tmp_path / "x.csv", csv)
    assert (
        "x.csv:1: not UTF-8: every other byte is NUL" in message
        and "It looks like UTF-16LE. Set data.fallback_encoding: UTF-16LE" in message
    )


def test_bytes_that_the_fallback_does_not_have_are_named(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"fine\nnot\n" + b"caf\xe9 \x81\n")
    assert (
        "x.txt:3: neither UTF-8 nor data.fallback_encoding: windows-1252: byte 0x81 is none of it."
        in refusal(tmp_path / "x.txt", fallback_encoding="windows-1252")
    )


FORMATS = [
    (jsonl, '{"text": "Grüße", "label": "ä"}\n', {}),
    (csv, "text,label\nGrüße,ä\n", {}),
    (tsv, "text\tlabel\nGrüße\tä\n", {}),
    (conll, "Grüße ä\n\nda O\n", {}),
    (text, "Grüße\n", {}),
    (
        squad,
        (
            '{"data": [{"paragraphs": [{"context": "Grüße", "qas": [{"question": "ä?", "answers":'
            " []}]}]}]}"
        ),
        {},
    ),
]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    ("source", "content", "settings"),
    FORMATS,
    ids=[source.__name__.split(".")[-1] for source, _, _ in FORMATS],
)
def test_every_format_reads_the_fallback_as_it_reads_utf8(
    tmp_path, source, content, settings, encoding
):
    def read(file, **more):
        opened = open_source(source.Settings(train="x", **settings, **more), "train", str(file))
        return [example.features for example in opened.examples()], opened

    (tmp_path / "a").write_text(content, encoding="utf-8")
    (tmp_path / "b").write_bytes(content.encode(encoding))
    expected, plain = read(tmp_path / "a", fallback_encoding=encoding)
    found, opened = read(tmp_path / "b", fallback_encoding=encoding)
    assert found == expected != []
    assert opened.progress() == opened.size() and opened.fingerprint() != plain.fingerprint()
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "b")


def test_folders_and_parallel_files_read_the_fallback(tmp_path):
    (tmp_path / "a.de").write_bytes("Grüße\nzwei\n".encode("latin-1"))
    (tmp_path / "a.en").write_text("greetings — …\ntwo\n", encoding="utf-8")
    settings = parallel.Settings(train="x", text="de", label="en", fallback_encoding="latin-1")
    found = [
        tuple(example.features.values())
        for example in open_source(settings, "train", f"{tmp_path}/a.*").examples()
    ]
    assert found == [("Grüße", "greetings — …"), ("zwei", "two")]  # file by file
    (tmp_path / "classes" / "x").mkdir(parents=True)
    (tmp_path / "classes" / "x" / "1.txt").write_bytes("Grüße".encode("utf-16"))
    settings = folders.Settings(train="x", fallback_encoding="utf-16")
    assert [
        example.features["text"]
        for example in open_source(settings, "train", str(tmp_path / "classes")).examples()
    ] == ["Grüße"]
