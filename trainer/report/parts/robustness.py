"""How many answers change where the meaning does not."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.files.json_file import JsonObject
from trainer.report.intervals import wilson
from trainer.report.page import Block, Cell, Folded, Paragraph, Section, Table, Text
from trainer.report.say import Say

NAMES = {
    "typos": ("letters change places in a tenth of the words", "十分之一的词里有字母互换"),
    "upper_case": ("all letters large", "全部大写"),
    "lower_case": ("all letters small", "全部小写"),
    "no_punctuation": ("without punctuation", "去掉标点"),
    "other_width": ("half-width for full-width forms, or the reverse", "全角与半角互换"),
    "other_words": ("synonyms for a tenth of the words", "十分之一的英文词换成同义词"),
    "same_sound": ("characters that sound the same", "十分之一的汉字换成同音字"),
    "other_sentence": ("a sentence behind it that says nothing", "后面加一句无关的话"),
}
LONGEST = 600  # characters of a text


def robustness(found: Mapping[str, JsonObject], say: Say) -> Section | None:
    """The section; None where nothing was tried.

    Args:
        found: of robustness.json, by perturbation.
        say: see `speaker`.
    """
    attack = found.get("attack")
    found = {name: each for name, each in found.items() if name != "attack"}
    if not found and attack is None:
        return None
    title = say("Where the meaning stays", "意思不变时")
    blocks: list[Block] = _perturbed(found, title, say) if found else []
    facts = {name: {**each, "examples": len(each["examples"])} for name, each in found.items()}
    if attack is not None:
        blocks += _attacked(attack, say)
        facts["attack"] = {**attack, "examples": len(attack["examples"])}
    return Section("robustness", title, facts, blocks)


def _attacked(attack: JsonObject, say: Say) -> list[Block]:
    """What a search for a small change has found."""
    low, high = wilson(attack["flipped"], attack["texts"])
    text = say(
        f"An attacker who may swap letters, or use other words, in a fifth of the words flips"
        f" {attack['flipped']} of {attack['texts']} right answers (95 %: {low:.0%} to {high:.0%}),"
        f" with {attack['changes']:.1f} words on average.",
        f"若允许改动五分之一的词（字母互换、同义词、同音字），{attack['texts']} 个正确答案中有"
        f" {attack['flipped']} 个会翻转（95%：{low:.0%} 到 {high:.0%}），"
        f"平均改动 {attack['changes']:.1f} 个词。",
    )
    blocks: list[Block] = [Paragraph(text)]
    if attack["examples"]:
        title = say("The smallest changes that were found", "找到的最小改动")
        blocks.append(Folded(title, [_flip(example, say) for example in attack["examples"]]))
    return blocks


def _perturbed(found: Mapping[str, JsonObject], title: str, say: Say) -> list[Block]:
    rows: list[list[Cell]] = []
    for name, each in found.items():
        low, high = wilson(each["flipped"], each["texts"])
        share = each["flipped"] / each["texts"]
        rows.append(
            [
                _shown(name, say),
                each["texts"],
                share,
                f"{low:.3f} – {high:.3f}",
                each["accuracy_before"],
                each["accuracy_after"],
            ]
        )
    worst = max(found, key=lambda name: found[name]["flipped"] / found[name]["texts"])
    share = found[worst]["flipped"] / found[worst]["texts"]
    text = say(
        f"Most answers change by this: {_shown(worst, say)}: {share:.1%} of them.",
        f"影响最大的改动：{_shown(worst, say)}，{share:.1%} 的答案改变。",
    )
    columns = [
        say("change", "改动"),
        say("texts", "文本数"),
        say("answers that change", "答案改变"),
        say("95 % interval", "95% 区间"),
        say("accuracy before", "原准确率"),
        say("accuracy after", "改后准确率"),
    ]
    blocks: list[Block] = [Paragraph(text), Table(title, columns, rows)]
    blocks += [
        Folded(_shown(name, say), [_flip(example, say) for example in each["examples"]])
        for name, each in found.items()
        if each["examples"]
    ]
    return blocks


def _shown(name: str, say: Say) -> str:
    return say(*NAMES.get(name, (name, name)))


def _flip(example: JsonObject, say: Say) -> Text:
    title = say(
        f"{example['answer_before']} becomes {example['answer_after']}",
        f"{example['answer_before']} 变成 {example['answer_after']}",
    )
    before = say("before: ", "原文：") + example["before"][:LONGEST]
    return Text(title, example["origin"], example["after"], notes=[before]).cut(LONGEST)
