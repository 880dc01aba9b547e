"""`podtune explain JOB_DIR --text=…`: why a model answers as it does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from podtune.model import load
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files import mirror
from trainer.files.json_file import JsonObject
from trainer.files.writing import writable_path
from trainer.report.files import require_ours, write_page
from trainer.report.page import Block, Language, Paragraph, Section, Table
from trainer.report.parts.attention import attention_section
from trainer.report.parts.why import answer_of, deletion_figure, shown
from trainer.report.say import Say, speaker
from trainer.settings import flags
from trainer.settings.flags import Flag

if TYPE_CHECKING:
    from trainer.report.explain.texts import Explanation

ASKED = ("text", "text_pair", "question", "context")  # inputs of heads
OWN = (
    *(Flag(name, None, "", "text") for name in ASKED),
    Flag("output", "explanation.html", "", "a file"),
    Flag("language", "en", "", "en or zh"),
)
SHOWN_TOKENS = 8  # on the terminal
MOST_ANSWERS = 8  # of a text


def run(arguments: Sequence[str]) -> int:
    """Explains a text. Returns the exit code.

    Raises:
        ConfigError: the command line is wrong, or the head cannot be explained.
        JobDirError: there is no trained model.
    """
    words, others = flags.split_words(arguments, OWN)
    own, settings = flags.parse_flags(["podtune explain", *others], OWN)
    if settings:
        raise ConfigError(
            f"--{'.'.join(next(iter(settings)))}: podtune explain takes no settings: the run is as"
            " it was trained."
        )
    if len(words) != 1:
        received = ", ".join(map(shown_name, words)) or "nothing"
        raise ConfigError(f"podtune explain: expected one JOB_DIR. Received {received}.")
    asked = {name: str(own[name]) for name in ASKED if own[name]}
    if not asked:
        raise ConfigError("--text: missing. It is what is explained: --text='A lovely film.'")
    language: Language = _language(own["language"])
    output = str(own["output"])
    if not output.endswith(".html"):
        raise ConfigError(f"--output: expected a name that ends in .html. Received {output!r}.")
    page = writable_path(output)
    for file in (page, page.with_suffix(".json")):
        require_ours(file, "--output")
    sections, summaries = _explain(words[0], asked, speaker(language))
    for line in summaries:
        standard_streams.print_text(line)
    if not sections:
        standard_streams.print_text("nothing is answered, so that there is nothing to explain")
        return 0
    write_page(page, next(iter(asked.values()))[:80], sections, language)
    standard_streams.print_text(f"explanation: {mirror.shown(page)}")
    return 0


def _language(given: str) -> Language:
    if given not in ("en", "zh"):
        raise ConfigError(f"--language: expected en or zh. Received {shown_value(given)}.")
    return "zh" if given == "zh" else "en"


def _explain(job_dir: str, asked: Mapping[str, str], say: Say) -> tuple[list[Section], list[str]]:
    """The parts of the page, and a line for each answer; none where nothing is answered.

    Args:
        job_dir: of the run.
        asked: texts by the names of the inputs.
        say: see `speaker`.
    """
    model = load(job_dir)
    from trainer.report.explain.texts import Explainer

    kept = model._kept
    explainer = Explainer(kept)
    names = [item.name for item in kept.parts.head.reader.inputs]
    if set(names) != set(asked):
        given = " and ".join(f"--{name}" for name in asked)
        named = " and ".join(f"--{name}" for name in names)
        raise ConfigError(f"podtune explain: the run takes {named}. Received {given}.")
    texts = tuple(asked[name] for name in names)
    answers = list(itertools.islice(explainer.answers(texts), MOST_ANSWERS))
    found = [explainer.explain(answer) for answer in answers]
    sections = [_section(each, number, say) for number, each in enumerate(found)]
    if answers:
        sections.append(attention_section(explainer.attention(answers[0]), say))
    return sections, list(map(_summary, found))


def _section(found: Explanation, number: int, say: Say) -> Section:
    """Why an answer was given.

    Args:
        found: the explanation.
        number: of the answer, from 0 on.
        say: see `speaker`.
    """
    facts: JsonObject = found.as_json()
    texts = found.texts
    rows = [(texts[share.text][share.start : share.end], share.value) for share in found.shares]
    columns = [say("token", "词元"), say("adds to the score", "对得分的贡献")]
    together = sum(share.value for share in found.shares)
    difference = found.score - found.baseline
    blocks: list[Block] = [
        shown(facts, say),
        Paragraph(
            say(
                f"Green speaks for the answer, red against it. Together the tokens add"
                f" {together:.3f}, and the score differs by {difference:.3f} from that of masks in"
                " their place.",
                f"绿色支持该答案，红色反对。所有词元合计贡献 {together:.3f}；"
                f"与全部换成掩码相比，得分相差 {difference:.3f}。",
            )
        ),
        deletion_figure([facts], say),
        Table(say("Each token", "各词元"), columns, rows),
    ]
    title = say("Why it answers so", "为什么这样回答")
    if found.start >= 0:
        title = f"{title}: {answer_of(facts)}"
    return Section(f"answer_{number + 1}" if number else "verdict", title, facts, blocks)


def _summary(found: Explanation) -> str:
    """The answer, and the tokens that add most to it."""
    strongest = sorted(found.shares, key=lambda share: -abs(share.value))[:SHOWN_TOKENS]
    tokens = [
        f"{found.texts[share.text][share.start : share.end]} {share.value:+.2f}"
        for share in strongest
    ]
    return f"{answer_of(found.as_json())}: {'  '.join(tokens)}"
