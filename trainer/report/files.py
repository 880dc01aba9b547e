"""The files of a report: pages and facts, which replace only what was written by podtune."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from trainer.errors import ConfigError, shown_name
from trainer.files import mirror
from trainer.files.writing import json_text, write_text
from trainer.report.page import Language, Section, page
from trainer.run.job_files import is_evidence

FORMAT = 1  # of the facts


def require_ours(path: pathlib.Path, key: str) -> None:
    """Refuses to replace a file that podtune did not write.

    Args:
        path: a page, or its facts; it need not be there.
        key: the setting that names it, for messages.
    Raises:
        ConfigError: it is another's.
    """
    if mirror.url_of(path) is not None:
        mirror.bring(path)
    if path.is_dir() or not is_evidence(path):
        raise ConfigError(
            f"{key}: {shown_name(mirror.shown(path))} is there and was not written by podtune. Move"
            " it away, or give another name."
        )


def write_page(
    path: pathlib.Path, title: str, sections: Sequence[Section], language: Language
) -> None:
    """Writes a page, and the same facts beside it as JSON.

    Args:
        path: of the page.
        title: of it.
        sections: in their order.
        language: of its sentences.
    """
    write_text(path, page(title, sections, language))
    write_facts(path.with_suffix(".json"), {section.key: section.facts for section in sections})


def write_facts(path: pathlib.Path, facts: Mapping[str, object]) -> None:
    """Writes facts as JSON."""
    write_text(path, json_text({"format": FORMAT, **facts}))
