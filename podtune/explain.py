"""`podtune explain JOB_DIR --text=…`: why a classifier answers a text as it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podtune.model import load
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name, shown_value
from trainer.files import mirror
from trainer.files.json_file import JsonObject
from trainer.files.writing import writable_path
from trainer.report.files import require_ours, write_page
from trainer.report.page import Block, Heat, Language, Paragraph, Section, Table
from trainer.report.parts.attention import attention_section
from trainer.report.parts.why import deletion_figure, shown
from trainer.report.say import Say, speaker
from trainer.settings import flags
from trainer.settings.flags import Flag

if TYPE_CHECKING:
    from trainer.report.explain.texts import Explanation

OWN = (
    Flag("text", None, "", "text"),
    Flag("text_pair", None, "", "text"),
    Flag("output", "explanation.html", "", "a file"),
    Flag("language", "en", "", "en or zh"),
)
SHOWN_TOKENS = 8  # on the terminal


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
    if not own["text"]:
        raise ConfigError("--text: missing. It is what is explained: --text='A lovely film.'")
    language: Language = _language(own["language"])
    output = str(own["output"])
    if not output.endswith(".html"):
        raise ConfigError(f"--output: expected a name that ends in .html. Received {output!r}.")
    page = writable_path(output)
    for file in (page, page.with_suffix(".json")):
        require_ours(file, "--output")
    texts = tuple(text for text in (own["text"], own["text_pair"]) if text)
    sections, found = _sections(words[0], texts, speaker(language))
    write_page(page, found.texts[0][:80], sections, language)
    standard_streams.print_text(_summary(found))
    standard_streams.print_text(f"explanation: {mirror.shown(page)}")
    return 0


def _language(given: str) -> Language:
    if given not in ("en", "zh"):
        raise ConfigError(f"--language: expected en or zh. Received {shown_value(given)}.")
    return "zh" if given == "zh" else "en"


def _sections(job_dir: str, texts: tuple[str, ...], say: Say) -> tuple[list[Section], Explanation]:
    """The parts of the page, and the explanation.

    Args:
        job_dir: of the run.
        texts: one, or the two of a pair.
        say: see `speaker`.
    """
    model = load(job_dir)
    from trainer.report.explain.texts import explainer_of

    kept = model._kept
    explainer = explainer_of(kept)
    inputs = kept.parts.head.reader.inputs
    if len(texts) != len(inputs):
        named = " and ".join(f"--{item.name}" for item in inputs)
        raise ConfigError(f"podtune explain: the run takes {named}. Received {len(texts)} of them.")
    found = explainer.explain(texts)
    facts: JsonObject = found.as_json()
    rows = [(texts[share.text][share.start : share.end], share.value) for share in found.shares]
    columns = [say("token", "词元"), say("adds to the logit", "对 logit 的贡献")]
    heat: Heat = shown(facts, say)
    blocks: list[Block] = [
        heat,
        Paragraph(
            say(
                "Green speaks for the answer, red against it. Together the tokens add"
                f" {sum(share.value for share in found.shares):.3f}, and the logit differs by"
                f" {found.score - found.baseline:.3f} from that of masks in their place.",
                "绿色支持该答案，红色反对。所有词元合计贡献"
                f" {sum(share.value for share in found.shares):.3f}；"
                f"与全部换成掩码相比，logit 相差 {found.score - found.baseline:.3f}。",
            )
        ),
        deletion_figure([facts], say),
        Table(say("Each token", "各词元"), columns, rows),
    ]
    why = Section("verdict", say("Why it answers so", "为什么这样回答"), facts, blocks)
    return [why, attention_section(explainer.attention(texts), say)], found


def _summary(found: Explanation) -> str:
    """The answer, and the tokens that add most to it."""
    strongest = sorted(found.shares, key=lambda share: -abs(share.value))[:SHOWN_TOKENS]
    tokens = [
        f"{found.texts[share.text][share.start : share.end]} {share.value:+.2f}"
        for share in strongest
    ]
    return f"{found.answer or f'{found.score:.4g}'}: {'  '.join(tokens)}"
