"""Why it answers so: what each token adds, and whether that means anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.figures import COLOURS, INK, drawing, svg_of
from trainer.report.page import Block, Figure, Heat, Paragraph, Section
from trainer.report.say import Say

BETWEEN = " ‖ "


def why(explanations: Sequence[JsonObject], say: Say) -> Section | None:
    """The section; None where nothing was explained.

    Args:
        explanations: of explanations.json.
        say: see `speaker`.
    """
    if not explanations:
        return None
    blocks: list[Block] = [
        Paragraph(
            say(
                "Green speaks for the answer, red against it: integrated gradients of its score,"
                " the logit, from the text with masks in place of its words to the text as it is.",
                "绿色支持该答案，红色反对：得分（logit）的积分梯度，路径从把词都换成掩码的文本"
                "到原文本。",
            )
        )
    ]
    blocks += [shown(each, say) for each in explanations]
    blocks.append(deletion_figure(explanations, say))
    facts = {
        "examples": len(explanations),
        "largest_gap": max(each["gap"] for each in explanations),
        "quicker_than_random": deletion_wins(explanations),
    }
    return Section("why", say("Why it answers so", "为什么这样回答"), facts, blocks)


def deletion_wins(explanations: Sequence[JsonObject]) -> int:
    """In how many texts the score falls faster by this order than by random ones."""
    return sum(bool(np.sum(each["kept"]) < np.sum(each["kept_random"])) for each in explanations)


def shown(each: Mapping[str, object], say: Say) -> Heat:
    """A text with what its tokens add."""
    gold, score, baseline = each.get("gold"), each["score"], each["baseline"]
    answer = answer_of(each)
    title = say(f"answered {answer}", f"预测 {answer}")
    if gold is not None:
        title += say(f", labelled {gold}", f"，标注 {gold}")
    note = say(
        f"score {score:.3f}; {baseline:.3f} without the words",
        f"得分 {score:.3f}；去掉词后为 {baseline:.3f}",
    )
    return Heat(title, str(each.get("origin", "")), note, parts_of(each))


def answer_of(each: Mapping[str, object]) -> str:
    """The answer; of a span its words, too; of a number itself."""
    answer = str(each["answer"])
    start, end = each["start"], each["end"]
    if start == -1:
        return answer or f"{each['score']:.3g}"
    words = each["texts"][-1][start:end]  # type: ignore[index]
    return answer if answer == words else f"{answer} ({words})"


def parts_of(each: Mapping[str, object]) -> list[tuple[str, float]]:
    """The texts in parts, and how strongly each speaks for the answer, from -1 to 1."""
    shares: list[JsonObject] = list(each["shares"])  # type: ignore[call-overload]
    strongest = max((abs(share["value"]) for share in shares), default=0) or 1.0
    parts: list[tuple[str, float]] = []
    texts: Sequence[str] = each["texts"]  # type: ignore[assignment]
    for number, text in enumerate(texts):
        place = 0
        if number:
            parts.append((BETWEEN, 0.0))
        for share in shares:
            if share["text"] != number or share["start"] < place:
                continue
            parts.append((text[place : share["start"]], 0.0))
            parts.append((text[share["start"] : share["end"]], share["value"] / strongest))
            place = share["end"]
        parts.append((text[place:], 0.0))
    return [(text, value) for text, value in parts if text]


def deletion_figure(explanations: Sequence[JsonObject], say: Say) -> Figure:
    """How the score falls as words are taken out."""
    quicker = deletion_wins(explanations)

    def mean_curve(name: str) -> np.ndarray:
        above = [np.array(each[name]) - each["baseline"] for each in explanations]
        mean: np.ndarray = np.mean(above, axis=0)
        return mean

    with drawing() as (figures, (axes,)):
        for name, label, colour in (
            ("kept", say("those that add most first", "贡献大的先去掉"), COLOURS[0]),
            ("kept_random", say("in a random order", "随机顺序"), INK),
        ):
            curve = mean_curve(name)
            axes.plot(np.linspace(0, 100, len(curve)), curve, label=label, color=colour)
        axes.set_xlabel(say("words taken out, %", "去掉的词，%"))
        axes.set_ylabel(say("score above that without words", "高于无词文本的得分"))
        axes.legend(fontsize=8)
        svg = svg_of(figures)
    count = len(explanations)
    caption = say(
        f"Deletion: where the words that are said to matter are taken out first, the score falls"
        f" faster than in random orders, in {quicker} of {count} texts.",
        f"删除曲线：先去掉被认为重要的词时，{count} 个文本中有 {quicker} 个的得分"
        "下降得比随机顺序快。",
    )
    return Figure(svg, caption)
