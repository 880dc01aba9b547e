"""What was trained on what, where, and how long it took."""

from __future__ import annotations

from trainer.data.ledger import Ledger
from trainer.report.evidence import Evidence
from trainer.report.page import Block, Cell, Folded, Paragraph, Section, Table
from trainer.report.say import Say

TELLING = ("head", "backbone", "data", "train")  # sections of the config


def setup(evidence: Evidence, say: Say) -> Section:
    """The section."""
    blocks: list[Block] = [
        _splits(evidence, say),
        *_ledger(evidence, say),
        _config(evidence, say),
        Folded(say("Time, speed and machine", "时间、速度与机器"), [_times(evidence, say)]),
    ]
    facts = {
        "config": evidence.config,
        "origins": evidence.origins,
        "splits": evidence.plan.get("splits"),
        "ledger": evidence.ledger,
        "timeline": evidence.results.get("timeline"),
        "throughput": evidence.results.get("throughput"),
        "machine": evidence.results.get("machine"),
        "cost": _cost(evidence),
        "steps": evidence.plan.get("steps"),
        "step": evidence.results.get("step"),
    }
    return Section("setup", say("What was trained on what", "用什么训练了什么"), facts, blocks)


def _splits(evidence: Evidence, say: Say) -> Table:
    counts = evidence.plan.get("label_counts", {})
    rows = []
    for name, split in (evidence.plan.get("splits") or {}).items():
        labels = sum(1 for count in counts.get(name, {}).values() if count)
        rows.append(
            (
                name,
                split.get("examples"),
                split.get("tokens"),
                split.get("mean_length"),
                labels or None,
            )
        )
    columns = [
        say("split", "数据集"),
        say("examples", "样本数"),
        say("tokens", "词元数"),
        say("tokens an example", "每样本词元"),
        say("labels", "标签数"),
    ]
    return Table(say("Data", "数据"), columns, rows)


def _ledger(evidence: Evidence, say: Say) -> list[Block]:
    meanings = Ledger().meanings
    rows: list[tuple[int, str, str, str]] = []
    for split, kinds in evidence.ledger.items():
        for kind, entry in kinds.items():
            meaning = meanings.get(kind, kind.replace("_", " "))
            rows.append((entry["count"], meaning, split, str(entry["first"])))
    if not rows:
        text = say(
            "Preparation lost and doubted nothing.", "数据准备没有丢失任何内容，也没有疑问。"
        )
        return [Paragraph(text)]
    caption = say(
        "Ledger: what preparation cut, left out or doubts", "账本：数据准备截断、剔除或存疑的内容"
    )
    columns = [
        say("count", "数量"),
        say("what", "内容"),
        say("split", "数据集"),
        say("first", "首次出现"),
    ]
    rows.sort(reverse=True)
    return [Table(caption, columns, rows)]


def _times(evidence: Evidence, say: Say) -> Table:
    rows: list[tuple[str, Cell]] = []
    for phase, seconds in (evidence.results.get("timeline") or {}).items():
        rows.append((f"{phase.removesuffix('_s').replace('_', ' ')}, s", seconds))
    for name, value in (evidence.results.get("throughput") or {}).items():
        rows.append((name.replace("_", " "), value))
    cost = _cost(evidence)
    if cost is not None:
        rows.append((say("cost, by plan.price_per_chip_hour", "费用"), cost))
    for name, value in (evidence.results.get("machine") or {}).items():
        rows.append((f"machine: {name.replace('_', ' ')}", str(value)))
    columns = [say("what", "项目"), say("value", "值")]
    return Table(say("Time, speed and machine", "时间、速度与机器"), columns, rows)


def _cost(evidence: Evidence) -> float | None:
    """What the whole run cost; None where no price is given."""
    price = evidence.config.get("plan", {}).get("price_per_chip_hour")
    seconds = sum((evidence.results.get("timeline") or {}).values())
    if not isinstance(price, (int, float)):
        return None
    return round(price * evidence.plan.get("replicas", 1) * seconds / 3600, 4)


def _config(evidence: Evidence, say: Say) -> Table:
    rows = []
    for name, origin in evidence.origins.items():
        section, _, key = name.partition(".")
        value = evidence.config.get(section, {}).get(key)
        if section in TELLING:
            rows.append((name, str(value), origin))
    caption = say("Settings that are no defaults", "非默认设置")
    columns = [say("setting", "设置"), say("value", "值"), say("from", "来源")]
    return Table(caption, columns, rows)
