"""A language model as its user meets it: trained, evaluated, asked, exported."""

import io
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoTokenizer

from tests import toy
from trainer.backbones import huggingface
from trainer.data.store import TokenStore
from trainer.heads import causal_lm
from trainer.heads._judged import bleu_and_rouge
from trainer.heads.text_generation.graph import TargetGraph
from trainer.serve import proof
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

TEXT = (
    "we saw the great film. we saw the old house. they read the new book. they think of the red"
    " tree.\n"
)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    (folder / "train.txt").write_text(TEXT * 60, encoding="utf-8")
    (folder / "val.txt").write_text(TEXT * 4, encoding="utf-8")
    weights = toy.write_gpt2(folder / "weights", layers=1)
    config = toy.write_config(
        folder,
        weights,
        folder / "train.txt",
        head={"name": "causal_lm", "max_new_tokens": 12, "stop": ["book"]},
        data={"source": "text", "validation": str(folder / "val.txt")},
        train={"steps": 120, "learning_rate": 1e-2, "evaluate_every_steps": 50},
        export={"format": "savedmodel"},
    )
    assert toy.run_main(config, folder / "job") == 0
    return folder


def ask(folder, monkeypatch, capsys, *rows, flags=()):
    monkeypatch.setattr(
        sys,
        "stdin",
        SimpleNamespace(
            buffer=io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
        ),
    )
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert toy.run_main(None, folder / "job", "--mode=predict", "--input=-", *flags) == 0
    sys.stdout.seek(0)
    return [json.loads(line) for line in sys.stdout.read().splitlines()]


def test_it_learns_what_follows_and_says_how_well(gpt2):
    validation = json.loads((gpt2 / "job" / "results.json").read_text())["validation"]
    assert (
        validation["perplexity"] < 2
        and validation["accuracy"] > 0.8
        and validation["perplexity"] == pytest.approx(math.exp(validation["loss"]), rel=1e-6)
    )
    tokenizer = load_tokenizer(gpt2 / "weights")
    # what nothing predicts is not counted
    first = len(tokenizer.token_bytes[int(tokenizer.tokenize(tf.constant([TEXT])).values[0])])
    tokens = (
        validation["bits_per_byte"] * math.log(2) * (len(TEXT) * 4 - first) / validation["loss"]
    )
    size = len(TEXT.split()) * 4  # also of the first word, whose second token is predicted
    assert validation["word_perplexity"] == pytest.approx(
        math.exp(validation["loss"] * tokens / size), rel=1e-4
    )


def test_a_stream_of_one_block_has_the_numbers_of_the_stored_split(gpt2):
    """In the second pass, too: a block is shuffled as an epoch is."""
    for name, flags in (("stored", ()), ("streamed", ("--data.stream_characters=1000000",))):
        assert (
            toy.run_main(
                gpt2 / "config.yaml",
                gpt2 / name,
                "--train.steps=12",
                "--train.global_batch_size=8",
                "--train.evaluate_every_steps=5",
                "--train.log_every_steps=1",
                "--export.format=none",
                *flags,
            )
            == 0
        )
    stored, streamed = (
        [json.loads(line) for line in (gpt2 / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("stored", "streamed")
    )
    epochs = [line["epoch"] for line in stored if line["split"] == "train"]
    assert [line.pop("passes") for line in streamed if line["split"] == "train"] == [
        math.ceil(epoch) - 1 for epoch in epochs
    ] and epochs[-1] > 1
    assert [
        {name: value for name, value in line.items() if name != "epoch"} for line in stored
    ] == streamed and len(streamed) == 15
    facts = json.loads((gpt2 / "streamed" / "plan.json").read_text())
    assert facts["steps"] == 12 and facts["epochs"] is facts["steps_per_epoch"] is None


def test_only_language_models_stream(tmp_path, toy_weights, capsys):
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 20),
        data={"stream_characters": 2000},
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    assert (
        "data.stream_characters: for language models only, as head classification learns its labels"
        " from all of train" in capsys.readouterr().err
    )


def test_a_block_with_less_than_a_step_is_refused(gpt2, capsys):
    flags = ("--data.stream_characters=1500", "--train.steps=12", "--train.global_batch_size=64")
    assert toy.run_main(gpt2 / "config.yaml", gpt2 / "small", *flags) == 2
    error = capsys.readouterr().err
    assert (
        "data.stream_characters: a block of 1,500 characters has " in error
        and " rows, and a step takes 64 (train.global_batch_size). Raise it to " in error
    )


def test_a_bad_line_of_a_later_block_ends_the_run_with_its_place_and_can_be_mended(
    tmp_path, capsys
):
    toy.write_jsonl(tmp_path / "0.jsonl", [{"text": "we saw the film"}] * 300)
    (tmp_path / "1.jsonl").write_text(
        '{"text": "we saw it"}\n' * 300 + '{"text": 5}\n', encoding="utf-8"
    )
    config = toy.write_config(
        tmp_path,
        toy.write_gpt2(tmp_path / "weights", layers=1),
        str(tmp_path / "*.jsonl"),
        head={"name": "causal_lm"},
        data={"stream_characters": 1000},
        train={"steps": 60, "checkpoint_every_steps": 2, "global_batch_size": 2},
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    error = capsys.readouterr().err
    assert (
        f"{tmp_path}/1.jsonl:301: field 'text' should be text. Received 5 (int)." in error
        and "Traceback" not in error
    )
    assert any((tmp_path / "job" / "checkpoints").glob("step_*"))
    (tmp_path / "1.jsonl").write_text(
        '{"text": "we saw it"}\n' * 300 + '{"text": "and the film"}\n', encoding="utf-8"
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    assert "resuming after step" in capsys.readouterr().err


def test_every_token_of_the_files_is_in_one_row(gpt2):
    """And but for the first of each split predicted once."""
    tokenizer = load_tokenizer(gpt2 / "weights")
    cache = next(folder for folder in (gpt2 / "cache").iterdir() if (folder / "train").exists())
    for split, times in (("train", 60), ("validation", 4)):
        store = TokenStore(cache / split)
        assert store.tokens["token_ids"].tolist() == [
            *tokenizer.tokenize(tf.constant([TEXT * times])).to_list()[0],
            tokenizer.eos_id,
        ]
        assert (store.tokens["target"] > 0).sum() == len(
            store.tokens["token_ids"]
        ) - 1 and store.lengths[:-1].tolist() == [32] * (len(store) - 1)


def test_predict_continues_a_prompt_up_to_a_stop_text(gpt2, monkeypatch, capsys):
    one, two, three = ask(
        gpt2,
        monkeypatch,
        capsys,
        {"text": "we saw the great"},
        {"text": "they read the new", "id": 7},
        {"text": ""},
    )
    assert one["generated_text"].startswith(" film.") and one["score"] <= 0
    assert two == {
        "text": "they read the new",
        "id": 7,
        "generated_text": " ",
        "score": two["score"],
    }
    assert isinstance(three["generated_text"], str)
    (beams,) = ask(
        gpt2, monkeypatch, capsys, {"text": "we saw the great"}, flags=("--head.num_beams=3",)
    )
    assert beams["generated_text"].startswith(" film.")


def test_a_prompt_that_leaves_no_room_is_told_how_much_of_it_was_lost(gpt2, monkeypatch, capsys):
    long = "we saw the great film. they read " * 12 + "they read the new"
    lost = len(load_tokenizer(gpt2 / "weights").tokenize(tf.constant([long])).values) - (64 - 12)
    one, two = ask(gpt2, monkeypatch, capsys, {"text": long}, {"text": "we saw the great"})
    assert lost > 0 and one["truncated_tokens"] == lost and "truncated_tokens" not in two
    remark = (
        "more than 52 tokens, the backbone's 64 positions less head.max_new_tokens = 12: what is"
        " over that was cut, truncated_tokens says how much"
    )
    assert f"warning: 1 of 2 texts have {remark}\n" in capsys.readouterr().err
    shown = on_a_terminal(gpt2, monkeypatch, {"text": long})
    assert shown == long + one["generated_text"] + "\n\n"
    assert f"warning: the text has {remark}\n" in capsys.readouterr().err


def on_a_terminal(folder, monkeypatch, *rows, flags=()):
    """What a person sees who asks there."""
    monkeypatch.setattr(
        sys,
        "stdin",
        SimpleNamespace(
            buffer=io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
        ),
    )
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    assert toy.run_main(None, folder / "job", "--mode=predict", "--input=-", *flags) == 0
    terminal.seek(0)
    return terminal.read()


def test_on_a_terminal_the_same_prompt_is_drawn_anew(gpt2, monkeypatch):
    flags = ("--head.do_sample=true", "--head.temperature=9", "--head.stop=[]")
    one, two = (
        on_a_terminal(gpt2, monkeypatch, *[{"text": "we saw"}] * count, flags=flags)
        for count in (1, 2)
    )
    assert (
        two.startswith(one)
        and two.removeprefix(one) not in ("", one)
        and two.removeprefix(one).startswith("we saw")
    )


def test_on_a_terminal_words_stay_apart(gpt2, tmp_path, monkeypatch):
    """A WordPiece vocabulary's first word has no space of its own; a prompt's template is shown,
    too.
    """
    rows = [{"text": "the film was great"}] * 60
    decoder = toy.write_gpt2(tmp_path / "weights", layers=1, tokenizer=False)
    (decoder / "vocab.txt").write_text("\n".join(toy.VOCABULARY) + "\n", encoding="utf-8")
    config = toy.write_config(
        tmp_path,
        decoder,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head={"name": "causal_lm", "max_new_tokens": 3},
        train={"steps": 60, "learning_rate": 1e-2, "evaluate_every_steps": 50},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    for flags in ((), ("--head.num_beams=2",)):
        assert on_a_terminal(
            tmp_path, monkeypatch, {"text": "the film"}, {"text": "the film "}, flags=flags
        ).startswith("the film was great\n\nthe film was great\n\n")
    shown = on_a_terminal(
        gpt2,
        monkeypatch,
        {"text": "saw"},
        flags=("--head.prompt=we {text} the great ", "--head.max_new_tokens=5"),
    )
    assert shown.startswith("we saw the great film.")


def test_the_saved_model_generates_and_scores(gpt2):
    signatures = tf.saved_model.load(str(gpt2 / "job" / "model")).signatures
    assert set(signatures) == {"serving_default", "token_ids", "generate"}
    found = signatures["generate"](text=tf.constant(["we saw the great", "", "they think of"]))
    assert (
        found["generated_text"].numpy()[0].decode().startswith(" film.")
        and b"book" not in found["generated_text"].numpy()[2]
    )
    scored = signatures["serving_default"](text=tf.constant([TEXT, "tree red the of", "", "."]))
    likely, unlikely = scored["perplexity"].numpy()[:2]
    assert likely < 3 < unlikely and scored["tokens"].numpy()[2:].tolist() == [0, 0]


def test_an_export_that_writes_other_texts_is_refused(gpt2):
    """The proof is asked for texts that the model does not write."""
    written = {
        "generated_text": np.array([b"a", b"b"]),
        "score": np.array([-1.0, -2.0], np.float32),
    }
    served = {"generated_text": ["a", "x"], "score": [-1.0, -2.00001]}
    assert proof.compare_generated(served, written, 1e-4) < 1e-4  # as likely
    with pytest.raises(
        proof.ExportRefusedError, match="generated_text of example 1 differs: b trained, x served"
    ):
        proof.compare_generated({**served, "score": [-1.0, -2.5]}, written, 1e-4)


def test_a_text_longer_than_a_row_is_scored_whole(gpt2):
    signatures = tf.saved_model.load(str(gpt2 / "job" / "model")).signatures
    tokens = len(load_tokenizer(gpt2 / "weights").tokenize(tf.constant([TEXT * 20])).values)
    assert tokens > 5 * 32  # rows have 32 tokens
    assert (
        signatures["serving_default"](text=tf.constant([TEXT * 20, TEXT]))["tokens"].numpy()[0]
        == tokens - 1
    )


@pytest.mark.parametrize("beams", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_file_is_continued_as_each_of_its_lines(gpt2, monkeypatch, beams):
    """By the compiled loop, longest prompts first, three at a time."""
    rows = [
        {"text": text, "id": number}
        for number, text in enumerate(
            (
                "we saw",
                "",
                "they think of the red tree. we saw the great",
                "the old",
                "film " * 60,
                "they read",
                "red",
            )
        )
    ]
    toy.write_jsonl(gpt2 / "in.jsonl", rows)
    flags = (
        "--mode=predict",
        f"--input={gpt2 / 'in.jsonl'}",
        f"--output={gpt2 / 'out.jsonl'}",
        "--train.evaluation_batch_size=3",
    )
    assert toy.run_main(None, gpt2 / "job", *flags, f"--head.num_beams={beams}") == 0
    answers = toy.read_jsonl(gpt2 / "out.jsonl")
    single = ask(gpt2, monkeypatch, None, *rows, flags=(f"--head.num_beams={beams}",))
    assert [(answer["id"], answer["generated_text"]) for answer in answers] == [
        (answer["id"], answer["generated_text"]) for answer in single
    ]
    assert [answer["score"] for answer in answers] == pytest.approx(
        [answer["score"] for answer in single], abs=1e-3
    )


def test_a_chinese_decoder_with_word_pieces_writes_without_spaces(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("今天天气很好。\n我们看了电影。\n" * 120, encoding="utf-8")
    weights = toy.write_gpt2(tmp_path / "weights", layers=1, tokenizer=False)
    toy.write_checkpoint(tmp_path / "bert", layers=1)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (weights / name).write_bytes((tmp_path / "bert" / name).read_bytes())
    config = toy.write_config(
        tmp_path,
        weights,
        tmp_path / "train.txt",
        head={"name": "causal_lm", "max_new_tokens": 12, "documents": "separate"},
        data={"source": "text", "document": "line"},
        train={"steps": 80, "learning_rate": 1e-2, "evaluate_every_steps": 50},
        export={"format": "savedmodel"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    one, stopped = (
        ask(tmp_path, monkeypatch, None, {"text": "我们"}, flags=flags)[0]["generated_text"]
        for flags in ((), ("--head.stop=[电影]",))
    )
    assert one == "看了电影[UNK]" and stopped == "看了"


@pytest.mark.parametrize(
    "flag",
    [
        "--head.num_beams=1",
        "--head.num_beams=3",
        "--head.stop=[' film. we saw the']",
        "--head.stop=[film. we]",
    ],
)
def test_on_a_terminal_the_text_appears_as_it_is_written(gpt2, monkeypatch, flag):
    """Nothing of a stop text, also where it is longer than what comes before it."""
    (whole,) = ask(gpt2, monkeypatch, None, {"text": "we saw the great"}, flags=(flag,))

    class Terminal(io.StringIO):
        def __init__(self):
            super().__init__()
            self.written = []

        def isatty(self):
            return True

        def write(self, text):
            self.written.append(text)

    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"text": "we saw the great"}\n'))
    )
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert toy.run_main(None, gpt2 / "job", "--mode=predict", "--input=-", flag) == 0
    assert "".join(terminal.written) == "we saw the great" + whole["generated_text"] + "\n\n"
    assert len(terminal.written) > 3 or flag != "--head.num_beams=1"


def test_bleu_and_rouge_are_their_packages(gpt2):
    """Beside figures worked out by hand."""
    same = bleu_and_rouge(["the cat sat on the mat"], ["the cat sat on the mat"], "13a")
    assert same == pytest.approx(
        {"bleu": 100, "chrf": 100, "rouge1": 100, "rouge2": 100, "rouge_l": 100}
    )
    half = bleu_and_rouge(["a b c d"], ["a b x d"], "none")
    assert (
        half["rouge1"] == pytest.approx(75)
        and half["rouge2"] == pytest.approx(100 / 3)
        and half["rouge_l"] == pytest.approx(75)
    )
    chinese = bleu_and_rouge(["今天天气好"], ["今天天气坏"], "zh")
    assert chinese["rouge1"] == pytest.approx(80) and 0 < chinese["bleu"] < 100
    assert bleu_and_rouge(["für dich da"], ["für mich da"], "13a")["rouge1"] == pytest.approx(
        200 / 3
    )
    assert bleu_and_rouge(["नहीं यह"], ["नहीं वह"], "13a")["rouge1"] == pytest.approx(50)


@given(st.text("aZ09 .,_-'!\n\t", max_size=40), st.text("aZ09 .,_-'!\n\t", max_size=40))
def test_rouge_of_ascii_is_the_packages_own(text, target):
    own = RougeScorer(["rouge1", "rougeL"]).score(target, text)
    ours = bleu_and_rouge([text], [target], "none")
    assert ours["rouge1"] == pytest.approx(100 * own["rouge1"].fmeasure) and ours[
        "rouge_l"
    ] == pytest.approx(100 * own["rougeL"].fmeasure)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--head.do_sample=true", "--head.num_beams=2"),
            (
                "head.num_beams: 2 beams are not drawn. Set head.do_sample to false, or"
                " head.num_beams to 1."
            ),
        ),
        (
            ("--head.temperature=0.7",),
            (
                "head.temperature: is of drawing, and head.do_sample is false. Set that to true, or"
                " leave it out."
            ),
        ),
        (
            ("--head.judged_by=zh",),
            (
                "head.judged_by: is of head text_generation now, and no longer of head causal_lm."
                " Received 'zh' (--head.judged_by). Set --head.name=text_generation, or leave it"
                " out."
            ),
        ),
        (
            ("--head.judged_examples=3",),
            "head.judged_examples: is of head text_generation now, and no longer of head",
        ),
        (
            ("--data.window_overlap=3",),
            (
                "data.window_overlap: head causal_lm has no windows that overlap, as each token"
                " counts once. Received 3. Leave it out."
            ),
        ),
        (
            ("--head.early_stopping=true",),
            (
                "head.early_stopping: is of beams, and head.num_beams is 1. Raise that, or leave it"
                " out."
            ),
        ),
        (
            ("--data.overflow=error",),
            "data.overflow: head causal_lm takes window. Received 'error'.",
        ),
        (
            ("--head.prompt=x",),
            (
                "head.prompt: expected a text with {text} once, where data.text goes, and no other"
                " name in braces. Received 'x'."
            ),
        ),
        (
            ("--head.prompt={text} {question}",),
            "no other name in braces. Received '{text} {question}'.",
        ),
        (
            ("--head.max_new_tokens=64",),
            (
                "head.max_new_tokens: expected less than 64, the positions of the backbone."
                " Received 64."
            ),
        ),
        (
            ("--head.min_new_tokens=9", "--head.max_new_tokens=8"),
            "head.min_new_tokens: expected at most 8, head.max_new_tokens. Received 9.",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(gpt2, capsys, flags, said):
    (gpt2 / "in.jsonl").write_text('{"text": "we"}\n')
    assert (
        toy.run_main(None, gpt2 / "job", "--mode=predict", f"--input={gpt2}/in.jsonl", *flags) == 2
    )
    assert said in capsys.readouterr().err


def test_from_a_prompt_to_its_target(tmp_path, monkeypatch, capsys):
    """Only the target is learnt: the loss is of its tokens and the end."""
    colours = {"red": "rot", "blue": "blau", "old": "alt", "new": "neu"}
    rows = [
        {"text": f"the {english} house", "target": f"das Haus ist {german}"}
        for _ in range(40)
        for english, german in colours.items()
    ]
    weights = toy.write_gpt2(tmp_path / "weights", layers=1)
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head={"name": "text_generation", "target": "target", "prompt": "{text} ="},
        data={"validation": str(toy.write_jsonl(tmp_path / "val.jsonl", rows[:4])), "seq_len": 40},
        train={
            "steps": 150,
            "learning_rate": 1e-2,
            "evaluate_every_steps": 50,
            "best_metric": "bleu",
        },
        export={"format": "savedmodel"},
    )
    judge, judged = TargetGraph.judge, []
    monkeypatch.setattr(
        TargetGraph, "judge", lambda *arguments: judged.append(judge(*arguments)) or judged[-1]
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    lines = toy.read_jsonl(tmp_path / "job" / "metrics.jsonl")
    bleu = {line["step"]: line["bleu"] for line in lines if line["split"] == "validation"}
    assert results["step"] == max(bleu, key=lambda step: (bleu[step], -step)) and results[
        "validation"
    ]["bleu"] == pytest.approx(max(bleu.values()))
    # what training has just judged is not judged again
    assert len(judged) == len(bleu) + (results["step"] != max(bleu))
    validation = results["validation"]
    assert (
        validation["accuracy"] == 1
        and validation["bleu"] == pytest.approx(100)
        and validation["rouge_l"] == pytest.approx(100)
    )
    assert toy.run_main(None, tmp_path / "job", "--mode=export", "--export.format=huggingface") == 0
    assert (
        json.loads((tmp_path / "job" / "huggingface" / "config.json").read_text())["eos_token_id"]
        == load_tokenizer(weights).eos_id
    )
    answers = ask(
        tmp_path, monkeypatch, capsys, {"text": "the blue house"}, {"text": "the new house"}
    )
    assert [answer["generated_text"] for answer in answers] == [
        "das Haus ist blau",
        "das Haus ist neu",
    ]
    signatures = tf.saved_model.load(str(tmp_path / "job" / "model")).signatures
    scored = signatures["serving_default"](
        text=tf.constant(["the red house"] * 2),
        target=tf.constant(["das Haus ist rot", "das Haus ist blau"]),
    )
    assert scored["log_probability"].numpy()[0] > -1 > scored["log_probability"].numpy()[1]


def test_a_text_ends_where_config_json_says_and_the_export_keeps_it(tmp_path, monkeypatch, capsys):
    """As in Hugging Face's generate: a tokenizer that was trained by oneself often names no end."""
    weights = toy.write_gpt2(tmp_path / "weights", layers=1)
    end = load_tokenizer(weights).eos_id
    (weights / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    assert load_tokenizer(weights).eos_id is None
    train = toy.write_jsonl(
        tmp_path / "train.jsonl",
        [{"text": row["text"], "target": "good"} for row in toy.sentences(60)],
    )
    config = toy.write_config(
        tmp_path,
        weights,
        train,
        head={
            "name": "text_generation",
            "target": "target",
            "prompt": "{text} = ",
            "max_new_tokens": 6,
        },
        train={"steps": 60, "learning_rate": 1e-2, "evaluate_every_steps": 50},
        export={"format": "huggingface"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    (answer,) = ask(tmp_path, monkeypatch, capsys, {"text": "we saw the film"})
    assert answer["generated_text"] == "good"
    assert (
        json.loads((tmp_path / "job" / "huggingface" / "config.json").read_text())["eos_token_id"]
        == end
    )


@pytest.mark.parametrize("head", ["last token", "tags, decoder", "questions, decoder"])
def test_an_exported_decoder_can_be_given_a_batch_by_hugging_face(tmp_path, head):
    """It finds the last token, and fills a batch up, by a padding token, which GPT-2's tokenizer
    has not.
    """
    config = toy.write_head_config(
        tmp_path, head, 12, train={"steps": 1}, export={"format": "huggingface"}
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    folder = tmp_path / "job" / "huggingface"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["the", "the old house"], padding=True)
    assert (
        json.loads((folder / "config.json").read_text())["pad_token_id"]
        == tokenizer.pad_token_id
        == load_tokenizer(folder).pad_id
    )
    assert (
        batch["attention_mask"][0][-1] == 0 and batch["input_ids"][0][-1] == tokenizer.pad_token_id
    )
    assert (
        tokenizer("the old house")["input_ids"]
        == AutoTokenizer.from_pretrained(tmp_path / "weights")("the old house")["input_ids"]
    )


def test_a_masked_language_model_fills_masks_and_goes_on_as_a_classifier(
    tmp_path, monkeypatch, capsys
):
    weights = toy.write_checkpoint(tmp_path / "weights", layers=1, hidden=32)
    sentences = ["we saw the old house", "they read the new book", "this film was great"]
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(
            tmp_path / "train.jsonl", [{"text": sentences[number % 3]} for number in range(240)]
        ),
        head={"name": "masked_lm", "documents": "separate", "mask_probability": 0.3, "top_k": 2},
        data={"validation": 0.3},
        train={"steps": 250, "learning_rate": 1e-2, "evaluate_every_steps": 50},
        export={"format": "savedmodel"},
    )
    (tmp_path / "val.jsonl").write_text(
        "".join(json.dumps({"text": sentence}) + "\n" for sentence in sentences)
    )
    assert toy.run_main(config, tmp_path / "job", f"--data.validation={tmp_path}/val.jsonl") == 0
    assert (
        json.loads((tmp_path / "job" / "results.json").read_text())["validation"]["perplexity"] < 4
    )
    requests = list(
        tf.data.TFRecordDataset(
            str(tmp_path / "job" / "model" / "assets.extra" / "tf_serving_warmup_requests")
        ).as_numpy_iterator()
    )
    # which also proved the export
    assert requests and all(b"[MASK]" in request for request in requests)
    every = ask(
        tmp_path,
        monkeypatch,
        capsys,
        {"text": "we saw the [MASK] house"},
        flags=("--head.top_k=5000",),
    )[0]["masks"][0]
    assert len(every) == len(toy.VOCABULARY) and sum(
        word["score"] for word in every
    ) == pytest.approx(1, abs=1e-3)
    one, two = ask(
        tmp_path,
        monkeypatch,
        capsys,
        {"text": "we saw the [MASK] house"},
        {"text": "they [MASK] the new [MASK]"},
    )
    assert [mask[0]["token"] for mask in one["masks"]] == ["old"] and len(one["masks"][0]) == 2
    assert [mask[0]["token"] for mask in two["masks"]] == ["read", "book"]
    capsys.readouterr()
    without, _ = ask(
        tmp_path, monkeypatch, capsys, {"text": "we saw <mask>"}, {"text": "they [MASK]"}
    )
    assert without["masks"] == []
    assert (
        "warning: 1 of 2 texts have no [MASK], the mask of this tokenizer: nothing is answered"
        " there\n" in capsys.readouterr().err
    )
    assert toy.run_main(None, tmp_path / "job", "--mode=export", "--export.format=huggingface") == 0
    content = json.loads((tmp_path / "job" / "huggingface" / "config.json").read_text())
    assert content["architectures"] == ["BertForMaskedLM"]
    folder = tmp_path / "second"
    folder.mkdir()
    second = toy.write_config(
        folder,
        tmp_path / "job" / "huggingface",
        toy.write_sentences(folder / "train.jsonl", 60),
        train={"steps": 3},
    )
    assert toy.run_main(second, folder / "job") == 0
    assert np.isfinite(
        json.loads((folder / "job" / "metrics.jsonl").read_text().splitlines()[-1])["loss"]
    )


def test_a_line_that_is_one_word_has_a_perplexity_and_ends_no_run(tmp_path):
    """A word's perplexity then is beyond float32, which is all that TensorBoard has."""
    for name in ("train", "val"):
        (tmp_path / f"{name}.txt").write_text(("housefilmbook" * 20 + "\n") * 30)
    config = toy.write_config(
        tmp_path,
        toy.write_gpt2(tmp_path / "weights", layers=1),
        tmp_path / "train.txt",
        head={"name": "causal_lm"},
        data={"source": "text", "validation": str(tmp_path / "val.txt")},
        train={"steps": 2},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    validation = json.loads((tmp_path / "job" / "results.json").read_text())["validation"]
    assert 1e39 < validation["word_perplexity"] < math.inf and validation["perplexity"] < 1000


def test_without_an_end_token_a_text_is_streamed_as_it_is_written_at_once(tmp_path):
    folder = toy.write_gpt2(tmp_path / "weights", layers=1)
    tokenizer = load_tokenizer(folder)
    tokenizer.eos_id = None
    head = causal_lm.make_head(
        causal_lm.Settings(max_new_tokens=11),
        DataSettings(source="text", train="", seq_len=16),
        tokenizer,
    )
    backbone, _ = huggingface.load_backbone(folder, seed=3)
    graph = head.build(backbone, {"labels": []}, 1)
    whole = graph.generate(tf.constant(["we saw"]))["generated_text"].numpy()[0].decode()
    assert whole and "".join(graph.stream("we saw")) == "we saw" + whole
