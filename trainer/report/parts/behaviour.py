"""Whether the model behaves as a person expects, by behavioural tests."""

from __future__ import annotations

import json
from collections.abc import Mapping

from trainer.files.json_file import JsonObject
from trainer.report.page import Block, Folded, Paragraph, Section, Table, Text
from trainer.report.say import Say

LONGEST = 600  # characters of a text
KINDS = {
    "minimum_functionality": ("a given answer", "给定的答案"),
    "invariance": ("the same answer", "答案不变"),
    "direction": ("one way", "朝一个方向"),
}


def behaviour(found: Mapping[str, JsonObject], say: Say) -> Section | None:
    """The section; None where nothing was tested.

    Args:
        found: of behaviour.json, by test.
        say: see `speaker`.
    """
    if not found:
        return None
    met = sum(each["is_met"] for each in found.values())
    text = say(
        f"{met} of {len(found)} behavioural tests are met.",
        f"{len(found)} 项行为测试中，{met} 项达标。",
    )
    rows = [
        (
            name,
            say(*KINDS[each["kind"]]),
            each["expected"],
            each["cases"],
            each["passed"] / max(each["cases"], 1),
            each["at_least"],
            say("yes", "是") if each["is_met"] else say("no", "否"),
        )
        for name, each in found.items()
    ]
    columns = [
        say("test", "测试"),
        say("expects", "类型"),
        say("what", "内容"),
        say("cases", "用例数"),
        say("passed", "通过率"),
        say("at least", "至少"),
        say("met", "达标"),
    ]
    title = say("Behavioural tests", "行为测试")
    blocks: list[Block] = [
        Paragraph(text, "good" if met == len(found) else "bad"),
        Table(title, columns, rows),
    ]
    blocks += [
        Folded(f"{name}: {each['expected']}", [_failure(case, say) for case in each["failures"]])
        for name, each in found.items()
        if each["failures"]
    ]
    facts = {name: {**each, "failures": len(each["failures"])} for name, each in found.items()}
    return Section("behaviour", title, facts, blocks)


def _failure(case: JsonObject, say: Say) -> Text:
    """What was asked and answered; of two texts the second."""
    answers = [_shown(answer) for answer in case["answered"]]
    texts = [" ‖ ".join(asked) for asked in case["asked"]]
    notes = []
    if len(texts) > 1:
        notes.append(say(f"before: {texts[0]} → {answers[0]}", f"之前：{texts[0]} → {answers[0]}"))
    title = say(f"answered {answers[-1]}", f"回答 {answers[-1]}")
    return Text(title, "", texts[-1], notes=notes).cut(LONGEST)


def _shown(answer: JsonObject) -> str:
    return json.dumps(answer, ensure_ascii=False)[:LONGEST]
