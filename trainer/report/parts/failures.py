"""Where it fails: the answers to look at first, slices that are worse, labels that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.evidence import Evidence
from trainer.report.page import Block, Folded, Paragraph, Section, Table
from trainer.report.say import Say
from trainer.report.slices import Slice, find_slices
from trainer.report.suspects import Suspect
from trainer.report.tasks.task import Task

MOST_SHOWN = 15
MOST_SUSPECTS = 20
LONGEST = 1200  # characters of a text that is shown


def failures(evidence: Evidence, task: Task, suspects: Sequence[Suspect], say: Say) -> Section:
    """The section.

    Args:
        evidence: of the run.
        task: what its answers are.
        suspects: labels that may be wrong.
        say: see `speaker`.
    """
    lines = evidence.lines
    mistakes = task.mistakes(lines, say)
    slices = find_slices(lines, task.goodness(lines))
    title = f"{mistakes.title} ({len(mistakes.lines):,})"
    blocks: list[Block] = [Paragraph(title)]
    blocks += [task.shown(lines[place], say).cut(LONGEST) for place in mistakes.lines[:MOST_SHOWN]]
    blocks += _slice_blocks(slices, len(lines), say)
    near, near_blocks = _near_duplicates(evidence, task, say)
    blocks += near_blocks + _suspect_blocks(suspects, say)
    facts = {
        **near,
        "mistakes": [lines[place]["id"] for place in mistakes.lines[:1000]],
        "slices": [each._asdict() for each in slices],
        "suspects": len(suspects),
    }
    return Section("failures", say("Where it fails", "错在哪里"), facts, blocks)


def _slice_blocks(slices: Sequence[Slice], count: int, say: Say) -> list[Block]:
    if not slices:
        text = say(
            "No part of the data is worse than the rest beyond chance.",
            "没有哪部分数据比其余部分显著更差。",
        )
        return [Paragraph(text)]
    rows = [
        (each.shown(say), each.examples, each.inside, each.outside, each.p_value) for each in slices
    ]
    caption = say(
        f"Parts of the {count:,} examples that are worse than the rest; by chance, any would be"
        " found once in twenty times",
        f"在 {count:,} 个样本中显著更差的部分（已校正多重比较，总体误报率 5%）",
    )
    columns = [
        say("part", "部分"),
        say("examples", "样本数"),
        say("right there", "该部分得分"),
        say("right elsewhere", "其余得分"),
        say("by chance", "偶然概率"),
    ]
    return [Table(caption, columns, rows)]


def _near_duplicates(evidence: Evidence, task: Task, say: Say) -> tuple[JsonObject, list[Block]]:
    """What train has nearly as well, and whether the model is better there."""
    found = evidence.near_duplicates.get(evidence.judged_split)
    if not found:
        return {}, []
    pairs, examples = found["pairs"], found["examples"]
    if not pairs:
        text = say(
            f"None of the {examples:,} examples is nearly the same as one of the"
            f" {found['train_examples']:,} of train that were compared.",
            f"{examples:,} 个样本都没有与训练集（{found['train_examples']:,} 个）几乎相同的。",
        )
        return {"near_duplicates": 0}, [Paragraph(text)]
    text = say(
        f"{len(pairs):,} of the {examples:,} examples are in train, or nearly"
        f" ({len(pairs) / examples:.1%}).",
        f"{examples:,} 个样本中有 {len(pairs):,} 个（{len(pairs) / examples:.1%}）"
        "与训练集相同或几乎相同。",
    )
    facts: JsonObject = {"near_duplicates": len(pairs)}
    goodness = task.goodness(evidence.lines)
    is_near = np.zeros(len(goodness), bool)
    if len(goodness):
        is_near[[pair["id"] for pair in pairs]] = True
    if 0 < is_near.sum() < len(goodness):
        inside, outside = float(goodness[is_near].mean()), float(goodness[~is_near].mean())
        facts |= {"right_in_near_duplicates": inside, "right_elsewhere": outside}
        text += say(
            f" Answers are right in {inside:.1%} of them, and in {outside:.1%} of the rest.",
            f"其中正确率 {inside:.1%}，其余 {outside:.1%}。",
        )
    origins = {line["id"]: line["origin"] for line in evidence.lines}
    rows = [
        (origins.get(pair["id"]), pair["train"], pair["similarity"])
        for pair in pairs[:MOST_SUSPECTS]
    ]
    caption = say("The most alike, by what they share", "最相似的样本，按共有片段的比例")
    columns = [say("where", "位置"), say("in train", "训练集中"), say("alike", "相似度")]
    return facts, [Paragraph(text), Folded(caption, [Table(caption, columns, rows)])]


def _suspect_blocks(suspects: Sequence[Suspect], say: Say) -> list[Block]:
    if not suspects:
        return []
    rows = [
        (each.origin, each.gold, each.suggested, each.quality) for each in suspects[:MOST_SUSPECTS]
    ]
    caption = say(
        f"Labels that may be wrong, {len(suspects):,} in all: suspects.jsonl has them",
        f"可能有误的标注，共 {len(suspects):,} 个，全部见 suspects.jsonl",
    )
    columns = [
        say("where", "位置"),
        say("labelled", "标注"),
        say("suggested", "建议"),
        say("quality of the label", "标注质量"),
    ]
    return [Table(caption, columns, rows)]
