import io

import pytest

from trainer.errors import DataError
from trainer.sources import Origin, _files, conll


def read(content, *, word=0, tag=-1, conllu=False):
    return list(
        conll.read(
            _files.Lines(io.BytesIO(content.encode()), "x.txt"),
            conll.Columns(word, tag, ("words", "tags"), conllu),
        )
    )


def sentences(content, **keywords):
    return [
        list(zip(example.features["words"], example.features["tags"], strict=True))
        for example in read(content, **keywords)
    ]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [" ", "\t", "  "])
def test_sentences_are_read_with_the_line_of_each_word(line_end, separator):
    lines = [
        "-DOCSTART- -X- O",
        "",
        "EU NNP B-ORG",
        "rejects VBZ O",
        "",
        "",
        "-DOCSTART- -X- O",
        "Peter NNP B-PER",
    ]
    found = read("\ufeff" + line_end.join(line.replace(" ", separator) for line in lines))
    assert [example.features for example in found] == [
        {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"words": ["Peter"], "tags": ["B-PER"]},
    ]
    assert [example.lines for example in found] == [(3, 4), (8,)]
    assert [example.origin for example in found] == [Origin("x.txt", 3), Origin("x.txt", 8)]


def test_what_is_to_be_predicted_needs_no_tags(tmp_path):
    (tmp_path / "x.txt").write_text("-DOCSTART-\n\nthe\nfilm\n\nwas B-X\n")
    found = list(conll.open(conll.Settings(train="x"), "input", str(tmp_path / "x.txt")).examples())
    assert [(example.features, example.lines) for example in found] == [
        ({"words": ["the", "film"]}, (3, 4)),
        ({"words": ["was"], "tags": ["B-X"]}, (6,)),
    ]


def test_a_documents_beginning_parts_sentences_like_a_blank_line():
    assert sentences("Paris B\n-DOCSTART- -X-\nLondon I\n-DOCSTART-\n\nit O\n") == [
        [("Paris", "B")],
        [("London", "I")],
        [("it", "O")],
    ]


def test_conllu_is_not_read_as_columns():
    row = "{0}\t{1}\t{1}\tNOUN\tNN\t_\t0\troot\t_\t_\n"
    content = (
        "# text = a b\n1-2\tab"
        + "\t_" * 8
        + "\n"
        + row.format(1, "a")
        + row.format(2, "b")
        + "\n"
        + row.format(1, "c")
    )
    with pytest.raises(DataError) as caught:
        read(content)
    assert (
        str(caught.value)
        == "x.txt:2: this looks like CoNLL-U, whose 10 columns begin with the number of the word."
        " Set data.variant=conllu, or name the columns with data.word_column and"
        " data.tag_column."
    )
    assert (
        sentences(content, word=1, tag=3, conllu=True)
        == [[("a", "NOUN"), ("b", "NOUN")], [("c", "NOUN")]]
        and len(read(content, word=1, tag=3)) == 2
    )
    assert sentences("1 O\n2 B\n") == [[("1", "O"), ("2", "B")]]


def test_columns_are_chosen_from_either_end():
    assert sentences("EU NNP B-NP B-ORG\n", tag=1) == [[("EU", "NNP")]]
    assert sentences("B-ORG x EU\n", word=-1, tag=0) == [[("EU", "B-ORG")]]


def test_a_tab_separates_words_with_spaces():
    assert sentences("New York\tB-LOC\n") == [[("New York", "B-LOC")]]


def test_other_spaces_part_no_columns():
    assert sentences("10\u00a0000 O\n\u3000 B\nfi\u2028lm\tO\n\u3000\tO\n") == [
        [("10\u00a0000", "O"), ("\u3000", "B"), ("fi\u2028lm", "O"), ("\u3000", "O")]
    ]


def test_a_number_sign_is_a_comment_above_a_sentence_and_a_word_where_it_has_the_columns_of_one():
    assert sentences(
        "# id 1 domain=en\n# AB CD\n# _ _ O\nEU _ _ B\n\n# _ _ O\n\n# id 2\nx _ _ O\n# _ _ B\n"
    ) == [[("#", "O"), ("EU", "B")], [("#", "O")], [("x", "O"), ("#", "B")]]


def test_words_with_a_number_sign_are_no_comments_wherever_they_stand():
    assert sentences("#NowPlaying O\nAdele B\n#music O\n") == [
        [("#NowPlaying", "O"), ("Adele", "B"), ("#music", "O")]
    ]
    assert sentences("# a header of five words\n#fail O\n#x O\n\nEU B\n") == [
        [("#fail", "O"), ("#x", "O")],
        [("EU", "B")],
    ]
    assert sentences("EU X O\n\n#fail NOUN Number=Sing\n", tag=1) == [
        [("EU", "X")],
        [("#fail", "NOUN")],
    ]
    assert sentences("-DOCSTART-\n\n#a O\n\nEU B\n") == [[("#a", "O")], [("EU", "B")]]
    assert sentences("#a O\n\n#b B\n") == [[("#a", "O")], [("#b", "B")]]


def test_where_a_column_numbers_the_words_every_line_with_a_number_sign_is_a_comment():
    """GermEval 2014: the comment has as many columns as the words."""
    content = (
        "#\thttp://www.heise.de/32883/1.html\t[2010-07-04]\t\n1\tGleich\tO\tO\n#\tin"
        " between\t\t\n2\t#\tO\tO\n\n"
        "#\tn-tv.de\t[2009-08-13]\t\n\n#\twikipedia\t[2009-08-13]\t\n1\tCrown\tB-OTH\tO\n"
    )
    for word, tag in ((1, 2), (-3, -2)):
        assert sentences(content, word=word, tag=tag) == [
            [("Gleich", "O"), ("#", "O")],
            [("Crown", "B-OTH")],
        ]
    assert [example.lines for example in read(content, word=1, tag=2)] == [(2, 4), (9,)]
    numbers = "1 O\n# B\n"  # which are the words themselves
    assert sentences(numbers) == [[("1", "O"), ("#", "B")]]
    tags_first = "NN film O\n\n# £ O\nCD 5 O\n"  # "#" is a part of speech
    assert sentences(tags_first, word=1) == [[("film", "O")], [("£", "O"), ("5", "O")]]


@pytest.mark.parametrize(
    "comment",
    [
        "#\thttps://example.org/a",
        "# www.example.org",
        "# newdoc",
        "# newpar",
        "# id=3",
        "# = x",
        "#\tftp://a",
    ],
)
def test_a_comment_with_as_many_columns_as_the_words_is_known_by_what_it_says(comment):
    assert sentences(f"{comment}\nEU B\n") == [[("EU", "B")]]
    assert sentences("# B\nEU O\n# newest\n") == [[("#", "B"), ("EU", "O"), ("#", "newest")]]


def test_conllu_leaves_out_ranges_and_empty_nodes():
    content = (
        "# text = Vámonos al"
        " mar\n1-2\tVámonos\t_\t_\n1\tVamos\tir\tVERB\n2\tnos\tnosotros\tPRON\n2.1\tx\tx\tX\n#"
        " odd\n3\tal\tal\tADP\n"
    )
    assert sentences(content, word=1, tag=3, conllu=True) == [
        [("Vamos", "VERB"), ("nos", "PRON"), ("al", "ADP")]
    ]
    assert read(content, word=1, tag=3, conllu=True)[0].doubts == (
        ("split_words", 1),
        ("empty_nodes", 1),
    )
    assert read("1\tVamos\tir\tVERB\n", word=1, tag=3, conllu=True)[0].doubts == ()
    settings = conll.Settings(train="", variant="conllu")
    assert (settings.text, settings.label) == ("words", "tags")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "EU B\nrejects\n",
            (
                "x.txt:2: expected a tag in column 1, found 1 column: 'rejects'. Correct the line,"
                " or set data.tag_column."
            ),
        ),
        ("EU\t\n", "x.txt:1: the tag in column 1 is empty."),
        ("\tB\n", "x.txt:1: the word in column 0 is empty."),
    ],
)
def test_lines_without_their_columns_are_refused(content, message):
    with pytest.raises(DataError) as caught:
        read(content, tag=1)
    assert message in str(caught.value)


def test_a_line_of_conllu_that_is_no_word_is_refused():
    with pytest.raises(
        DataError,
        match=(
            r"x.txt:2: expected the number of a word, such as 1, 1-2 or 1.1, found 'nos'. Correct"
            r" the line, or for other columns"
        ),
    ):
        read("1\tVamos\tir\tVERB\nnos\tnosotros\tPRON\tX\n", word=1, tag=3, conllu=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "the O\nLondon\n",
            (
                "x.txt:2: found 1 column, and 2 in the line before: 'London'. Correct the line (a"
                " word with a space in it needs tabs"
            ),
        ),
        ("the O\n10 000 O\n", "x.txt:2: found 3 columns, and 2 in the line before: '10 000 O'."),
        (
            "\n  O\n",
            (
                "x.txt:2: expected a word and a tag, found one column: 'O'. Correct the line, or"
                " set data.word_column and data.tag_column."
            ),
        ),
    ],
)
def test_words_and_tags_that_cannot_be_told_apart_are_refused(content, message):
    with pytest.raises(DataError) as caught:
        read(content)
    assert message in str(caught.value)
