"""`podtune completion SHELL`: a script that completes verbs, settings and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from podtune.verbs import VERBS
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_name
from trainer.settings import flags

CHOICES = re.compile(r"^one of (.+?)(?: or null)?$")
# verbs that take settings of a run
WITH_SETTINGS = ("train", "plan", "evaluate", "predict", "export", "report", "submit")

BASH = """# podtune: completion for bash
_podtune() {{
  local line="${{COMP_LINE:0:COMP_POINT}}" current
  current="${{line##* }}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs}" -- "$current"))
    return
  fi
  case "$current" in
{values}
    --*=*) COMPREPLY=($(compgen -f -- "${{current#*=}}")) ;;
    -*) COMPREPLY=($(compgen -W "{flags}" -- "$current")); compopt -o nospace 2>/dev/null ;;
    *) COMPREPLY=($(compgen -f -- "$current")); compopt -o filenames 2>/dev/null ;;
  esac
}}
complete -F _podtune podtune
"""
ZSH = """#compdef podtune
# podtune: completion for zsh
_podtune() {{
  local -a verbs names
  verbs=(
{verbs}
  )
  names=(
{flags}
  )
  if (( CURRENT == 2 )); then
    _describe -t verbs verb verbs
    return
  fi
  case "${{words[CURRENT]}}" in
{values}
    --*=*) compset -P '*='; _files ;;
    -*) _describe -t settings setting names -S '=' ;;
    *) _files ;;
  esac
}}
if [ "$funcstack[1]" = "_podtune" ]; then _podtune "$@"; else compdef _podtune podtune; fi
"""


def run(arguments: Sequence[str]) -> int:
    """Prints the script of a shell. Returns the exit code.

    Raises:
        ConfigError: another shell, or none.
    """
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        given = shown_name(" ".join(arguments)) if arguments else "none"
        raise ConfigError(f"podtune completion: expected one of bash, zsh, fish. Received {given}.")
    standard_streams.print_text(SCRIPTS[arguments[0]]())
    return 0


def _meanings() -> Mapping[str, str]:
    """The flags that complete, each with its meaning in a few words."""
    own = {flag.name: flag.meaning for flag in flags.OWN if flag.name not in ("mode", "help")}
    settings = {name: flag.meaning for name, flag in flags.setting_flags().items()}
    return {name: text.splitlines()[0].rstrip(":") for name, text in {**own, **settings}.items()}


def _values() -> Mapping[str, list[str]]:
    """The values of settings that have few."""
    values = {}
    for name, flag in flags.setting_flags().items():
        if found := CHOICES.match(flag.accepts):
            values[name] = found[1].split(", ")
        elif flag.boolean:
            values[name] = ["true", "false"]
    return values


def _bash() -> str:
    values = "\n".join(
        f'    --{name}=*) COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "${{current#*=}}")) ;;'
        for name, choices in _values().items()
    )
    names = " ".join(f"--{name}=" for name in _meanings())
    return BASH.format(verbs=" ".join(VERBS), values=values, flags=names)


def _zsh() -> str:
    values = "\n".join(
        f"    --{name}=*) compset -P '*='; compadd -- {' '.join(choices)} ;;"
        for name, choices in _values().items()
    )
    names = "\n".join(f"    {_zsh_entry(f'--{name}', text)}" for name, text in _meanings().items())
    verbs = "\n".join(f"    {_zsh_entry(name, verb.line)}" for name, verb in VERBS.items())
    return ZSH.format(verbs=verbs, flags=names, values=values)


def _zsh_entry(name: str, meaning: str) -> str:
    text = meaning.replace("\\", "").replace("'", "’").replace(":", " -")
    return f"'{name}:{text}'"


def _fish() -> str:
    lines = ["# podtune: completion for fish", "complete -c podtune -f -n __fish_use_subcommand"]
    for name, verb in VERBS.items():
        lines.append(
            f"complete -c podtune -n __fish_use_subcommand -a {name} -d {_quoted(verb.line)}"
        )
    wants = f"'__fish_seen_subcommand_from {' '.join(WITH_SETTINGS)}'"
    values = _values()
    for name, meaning in _meanings().items():
        choices = f" -x -a {_quoted(' '.join(values[name]))}" if name in values else " -r"
        lines.append(f"complete -c podtune -n {wants} -l {name}{choices} -d {_quoted(meaning)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "").replace("'", "’") + "'"


SCRIPTS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
