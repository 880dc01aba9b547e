"""`podtune push`: an export, to the Hugging Face hub."""

from __future__ import annotations

import contextlib
import glob
import json
import pathlib
import sys
import time
import urllib.parse
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trainer import __version__
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_message, shown_name, shown_value
from trainer.files import gcs, mirror, ownership
from trainer.files.ownership import CARD, MARKER
from trainer.settings import flags
from trainer.settings.flags import Flag

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OWN = (
    Flag("private", None, "", "true or false", boolean=True),
    Flag("revision", None, "", "a branch"),
    Flag("message", f"Export of podtune {__version__}", "", "text"),
    Flag("dry_run", None, "", "true or false", boolean=True),
)
OF_A_RUN = ("model", "huggingface")  # where a run keeps its exports
# TensorFlow Serving's warm-up: the only file of an export with texts of the data
WARMUP = "assets.extra/tf_serving_warmup_requests"
HEAD_LINES = 20  # of the card, for people
TRIES = 2  # where the hub has a problem of its own; the client repeats most requests itself
PAUSE_SECONDS = 2
TOKENS = "https://huggingface.co/settings/tokens"
REFUSED = "the hub refuses what was sent"
ANSWERS = {
    401: f"the hub does not know the token. Make one at {TOKENS}, then: hf auth login",
    403: f"the token may not do that. It needs the right to write there: {TOKENS}",
    404: "the hub has no such place, or the token may not see it",
    409: "somebody else is writing there. Try again",
    429: "too many requests. Try again later",
}
LATER = "Try again later: what has arrived is not sent again"


class Push(NamedTuple):
    """What the command line asks for.

    Attributes:
        place: of the export, or of its run.
        repository: ORG/NAME.
        private: whether a new repository is for its owners alone.
        revision: the branch; None: the main one.
        message: of the commit.
        dry_run: whether nothing is sent.
    """

    place: str
    repository: str
    private: bool
    revision: str | None
    message: str
    dry_run: bool


def run(arguments: Sequence[str]) -> int:
    """Checks all that can be checked from here, then sends. Returns the exit code.

    Raises:
        ConfigError: the command line is wrong, or the hub refuses.
        JobDirError: that is no whole export.
    """
    push = _parse(arguments)
    folder = _find(push.place)
    mirror.bring(folder)
    files = ownership.require_whole(folder)
    names = sorted(files.keys() - {WARMUP})
    _require_card(folder)
    size = sum(files[name] for name in names)
    standard_streams.say(
        f"{mirror.shown(folder)}: {len(names)} files, {size:,} bytes, as podtune wrote them"
    )
    if WARMUP in files:
        standard_streams.say(f"left out: {WARMUP}, which has texts of your data")
    if push.dry_run:
        standard_streams.say(f"would go to {_endpoint()}/{push.repository}")
        for name in names:
            standard_streams.print_text(f"{files[name]:>15,}  {name}")
        standard_streams.print_text(_head(folder))
    else:
        standard_streams.print_text(_send(push, folder, names))
    return 0


def _parse(arguments: Sequence[str]) -> Push:
    words, others = flags.split_words(arguments, OWN)
    own, settings = flags.parse_flags(["podtune push", *others], OWN)
    if settings:
        raise ConfigError(
            f"--{'.'.join(next(iter(settings)))}: podtune push takes no settings: an export is as"
            " it was trained."
        )
    if len(words) != 2:
        received = ", ".join(map(shown_name, words)) or "nothing"
        raise ConfigError(
            f"podtune push: expected a run or an export, and ORG/NAME. Received {received}."
        )
    place, repository = words
    _require_name(repository)
    return Push(
        place=place,
        repository=repository,
        private=own["private"] in (True, "true"),
        revision=own["revision"] or None,
        message=own["message"],
        dry_run=own["dry_run"] in (True, "true"),
    )


def _require_name(repository: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    with contextlib.suppress(HFValidationError):
        validate_repo_id(repository)
        if "/" in repository:
            return
    raise ConfigError(
        f"expected ORG/NAME, a repository of the hub: letters, digits, - _ and ., at most 96, and"
        f" neither -- nor .. in it. Received {shown_value(repository)}."
    )


def _find(place: str) -> pathlib.Path:
    """The folder of the export that a place is, or holds.

    Raises:
        ConfigError: there is none, or more than one.
    """
    root = mirror.local(place.rstrip("/") or place)
    if ownership.is_export(root):
        return root
    places = [*_versions(root), *(root / name for name in OF_A_RUN)]
    for name in OF_A_RUN:
        places += _versions(root / name)
    exports = [folder for folder in places if ownership.is_export(folder)]
    if len(exports) == 1:
        return exports[0]
    shown = shown_name(mirror.shown(root), 300)
    if exports:
        names = " or ".join(shown_name(mirror.shown(folder)) for folder in exports)
        raise ConfigError(f"{shown} holds several exports. Name one: {names}")
    raise ConfigError(
        f"{shown}: no export of podtune is there. Expected a run's folder or an export. To make"
        " one: podtune export JOB_DIR --export.format=huggingface"
    )


def _versions(folder: pathlib.Path) -> list[pathlib.Path]:
    """The highest version in a folder that TensorFlow Serving watches, if it is one."""
    names = [child.name for child in mirror.folders(folder)]
    versions = sorted(int(name) for name in names if name.isdigit())
    return [folder / str(version) for version in versions[-1:]]


def _require_card(folder: pathlib.Path) -> None:
    """Raises ConfigError where somebody has written metadata that the hub could not read."""
    import yaml
    from huggingface_hub import ModelCard

    if not (folder / CARD).exists():  # of an export that was written before there were cards
        return
    try:
        ModelCard.load(folder / CARD)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{mirror.shown(folder / CARD)}: its metadata, between the lines ---, cannot be read:"
            f" {shown_name(error, 300)}. Correct it."
        ) from None


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _head(folder: pathlib.Path) -> str:
    card = folder / CARD
    if not card.exists():
        return f"no {CARD}"
    lines = card.read_text(encoding="utf-8").splitlines()
    shown = lines[:HEAD_LINES]
    if len(lines) > HEAD_LINES:
        shown.append(f"… {len(lines) - HEAD_LINES} lines more")
    return shown_message("\n".join(shown))


def _send(push: Push, folder: pathlib.Path, names: Sequence[str]) -> str:
    """Sends the files. Returns the repository's address.

    Raises:
        ConfigError: there is no token, or the hub refuses.
    """
    from huggingface_hub import HfApi, get_token

    # of httpx, which has another name in another version of the client
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if not sys.stderr.isatty():
        disable_progress_bars()
    token = get_token()
    if not token:
        raise ConfigError(
            f"no token of the Hugging Face hub is at hand. Make one that may write at {TOKENS},"
            " then: hf auth login, or put it into HF_TOKEN."
        )
    api = HfApi(token=token)
    for left in reversed(range(TRIES)):
        try:
            return _upload(api, push, folder, names)
        except (HTTPError, OSError, ValueError, RuntimeError) as error:
            status = _status(error)
            if left and status is not None and status >= 500:
                time.sleep(PAUSE_SECONDS)
                continue
            problem = _problem(error, status).replace(token, "…")
            raise ConfigError(f"{push.repository} on {api.endpoint}: {problem}.") from None
    raise AssertionError("the last try returns or raises")


def _upload(api: HfApi, push: Push, folder: pathlib.Path, names: Sequence[str]) -> str:
    repository, revision = push.repository, push.revision
    address = api.create_repo(repository, private=push.private or None, exist_ok=True)
    _require_private(api, push)
    if revision is not None:
        _make_branch(api, repository, revision)
    earlier = _earlier(api, push, folder)
    api.upload_folder(
        repo_id=repository,
        folder_path=folder,
        revision=revision,
        commit_message=push.message,
        allow_patterns=[glob.escape(name) for name in names],
        delete_patterns=[glob.escape(name) for name in earlier if name not in names] or None,
    )
    if revision is None:
        return str(address)
    branch = urllib.parse.quote(revision, safe="")
    return f"{address}/tree/{branch}"


def _require_private(api: HfApi, push: Push) -> None:
    if push.private and not api.model_info(push.repository).private:
        raise ConfigError(
            f"--private: {push.repository} is there already, and everybody may read it. Make it"
            " private in its settings on the hub, or leave --private out."
        )


def _make_branch(api: HfApi, repository: str, revision: str) -> None:
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        api.model_info(repository, revision=revision)
    except RevisionNotFoundError:
        api.create_branch(repository, branch=revision, exist_ok=True)


def _earlier(api: HfApi, push: Push, folder: pathlib.Path) -> Collection[str]:
    """The names of what an earlier push has sent there; says where its card was completed."""
    marker = _fetched(api, push, MARKER)
    if marker is None:
        return ()
    try:
        noted = dict(json.loads(marker.read_bytes())["files"])
    except (ValueError, KeyError, TypeError):  # somebody has changed it there
        return ()
    card = _fetched(api, push, CARD)
    known = [noted.get(CARD, {}).get("crc32c")]
    if (folder / CARD).exists():
        known.append(gcs.crc32c(folder / CARD))
    if card is not None and gcs.crc32c(card) not in known:
        standard_streams.say(
            f"{CARD} in {push.repository} was completed by hand: this one takes its place. The"
            " earlier text stays in the repository's history"
        )
    return list(noted)


def _fetched(api: HfApi, push: Push, name: str) -> pathlib.Path | None:
    """A file of the repository; None where there is none of that name."""
    from huggingface_hub.errors import EntryNotFoundError

    with contextlib.suppress(EntryNotFoundError):
        return pathlib.Path(api.hf_hub_download(push.repository, name, revision=push.revision))
    return None


def _status(error: BaseException) -> int | None:
    """The hub's answer, where there was one."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if response is not None:
            return int(response.status_code)
        cause = cause.__cause__
    return None


def _problem(error: Exception, status: int | None) -> str:
    """What went wrong, and what to do."""
    said = getattr(error, "server_message", None) or str(error).strip() or type(error).__name__
    reason = shown_name(" ".join(said.split()), 300)
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set, so that nothing is sent. Unset it"
    if status is None:
        return f"the push failed: {reason}. {LATER}"
    answer = ANSWERS.get(status, LATER if status >= 500 else REFUSED)
    return f"{answer} (the hub says {status}: {reason})"
