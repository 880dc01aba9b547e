"""hf://org/name[@revision]: weights and tokenizers of the Hugging Face hub, fetched once."""

from __future__ import annotations

import pathlib
import re

from trainer.errors import ConfigError
from trainer.lazy import quiet_imports

HUB_NAME = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@\s]+))?")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # weights and tokenizer; never pickles


def hub_folder(path: str, *, key: str) -> pathlib.Path:
    """A local copy of a repository.

    Args:
        path: hf://org/name or hf://org/name@revision, as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: there is no such repository or revision, or it cannot be fetched.
    """
    match = HUB_NAME.fullmatch(path.removeprefix("hf://"))
    if match is None:
        raise ConfigError(f"{key}: expected hf://org/name or hf://org/name@revision, got {path!r}.")
    try:
        with quiet_imports():
            import huggingface_hub

            download = huggingface_hub.snapshot_download
    except ImportError:
        raise ConfigError(
            f"{key}: {path!r} needs the Hugging Face client. To install it: pip install"
            " huggingface_hub"
        ) from None
    try:
        folder = download(
            match["name"],
            revision=match["revision"],
            allow_patterns=HUB_FILES,
            ignore_patterns=["*/*"],
        )
    except (OSError, ValueError) as error:
        problem = _problem(error, match["name"], match["revision"])
        raise ConfigError(f"{key}: {path!r}: {problem}") from None
    return pathlib.Path(folder)


def _problem(error: Exception, name: str, revision: str | None) -> str:
    """What went wrong, and what to do.

    Errors are known by the names of their classes, which have moved between versions.
    """
    page = f"https://huggingface.co/{name}"
    not_reached = (
        "the hub cannot be reached and there is no copy in the local cache. On a machine with"
        f" a connection: hf download {name} --local-dir FOLDER, copy FOLDER here and"
        " give its path"
    )
    problems = {
        "GatedRepoError": f"access has to be asked for, at {page}; then log in: hf auth login",
        "RepositoryNotFoundError": (
            f"the hub has no such repository, or it is private. Check {page}; a private one needs:"
            " hf auth login"
        ),
        "RevisionNotFoundError": (
            f"the repository has no branch, tag or commit {revision!r}. They are listed at"
            f" {page}/tree/main"
        ),
        "LocalEntryNotFoundError": not_reached,
        "OfflineModeIsEnabled": not_reached,
    }
    for ancestor in type(error).__mro__:
        if ancestor.__name__ in problems:
            return problems[ancestor.__name__]
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the download failed: {reason}. Try again, or download it elsewhere and give the local"
        " folder"
    )
