"""What a run has left in its job_dir for its report."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence

from trainer.errors import ConfigError, JobDirError
from trainer.files import mirror
from trainer.files.checksums import DamagedError
from trainer.files.json_file import JsonObject
from trainer.run import job_config
from trainer.run.job import LEDGER_FILE, PLAN_FILE, RESULTS_FILE, Job
from trainer.run.job_files import (
    BASELINES,
    BEHAVIOUR,
    EXPLANATIONS,
    NEAR_DUPLICATES,
    POSITIONS,
    PREDICTIONS,
    PROBE,
    ROBUSTNESS,
)

SETTING = re.compile(r"  (\w+): .*  # (.+)")  # of config.yaml, as a run writes it
Line = JsonObject  # of predictions.jsonl


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The files of a run, read.

    Attributes:
        name: of the job_dir.
        config: section -> key -> value.
        origins: of the settings that are no defaults, by their dotted names.
        results, plan, ledger: see those files.
        baselines: what simple methods reach, by name and split; empty where none was tried.
        explanations: of some answers; empty where none was made.
        robustness: by perturbation; empty where none was tried.
        near_duplicates: of train, by split; empty where none was looked for.
        probe: of each layer; empty where there is none.
        behaviour: by behavioural test; empty where none was tried.
        positions: the loss of a language model by position; empty where there is none.
        curve: the lines of metrics.jsonl.
        splits: split -> the lines of predictions.jsonl, in their order.
    """

    name: str
    config: Mapping[str, Mapping[str, object]]
    origins: Mapping[str, str]
    results: JsonObject
    plan: JsonObject
    ledger: JsonObject
    baselines: JsonObject
    explanations: Sequence[JsonObject]
    robustness: JsonObject
    near_duplicates: JsonObject
    probe: JsonObject
    behaviour: JsonObject
    positions: Sequence[JsonObject]
    curve: Sequence[JsonObject]
    splits: Mapping[str, Sequence[Line]]

    @property
    def judged_split(self) -> str:
        """The split that the verdict is about: test, where there is one."""
        return judged_of(self.splits)

    @property
    def choosing_lines(self) -> Sequence[Line] | None:
        """Of validation, by which something may be chosen for that split; None: there is none."""
        return None if self.judged_split == "validation" else self.splits.get("validation")

    @property
    def lines(self) -> Sequence[Line]:
        """Of that split."""
        return self.splits[self.judged_split]


def judged_of(splits: Container[str]) -> str:
    """The split that a run is judged by: test, where there is one."""
    return "test" if "test" in splits else "validation"


def read_evidence(job: Job, *, key: str = "--job_dir") -> Evidence:
    """Reads what there is.

    Args:
        job: that was trained.
        key: the setting that names it, for messages.
    Raises:
        ConfigError: nothing was trained there.
        JobDirError: no answers are kept, or they are damaged.
    """
    mirror.bring(job.folder, nested=False)
    config = job_config.read_values(job.config_file)
    if config is None:
        raise ConfigError(
            f"{key}={mirror.shown(job.folder)}: no config.yaml there. Expected the job_dir of a"
            " training run."
        )
    return Evidence(
        name=job.folder.name or "run",
        config=config,
        origins=_origins(job.config_file.read_text("utf-8")),
        results=job.told(RESULTS_FILE),
        plan=job.told(PLAN_FILE),
        ledger=job.told(LEDGER_FILE),
        baselines=_by_name(job, BASELINES),
        explanations=job.told(EXPLANATIONS).get("examples", []),
        robustness=_by_name(job, ROBUSTNESS),
        near_duplicates=_by_name(job, NEAR_DUPLICATES),
        behaviour=_by_name(job, BEHAVIOUR),
        positions=job.told(POSITIONS).get("positions", []),
        probe=_by_name(job, PROBE).get("probe", {}),
        curve=list(_curve(job.metrics_file)),
        splits=_read_predictions(job),
    )


def _origins(config_yaml: str) -> dict[str, str]:
    """What stands behind each setting of config.yaml, but for defaults."""
    origins = {}
    section = ""
    for line in config_yaml.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            section = line[:-1]
        elif match := SETTING.fullmatch(line):
            key, origin = match.groups()
            if origin != "default":
                origins[f"{section}.{key}"] = origin
    return origins


def _by_name(job: Job, file: str) -> JsonObject:
    """The facts of a file by name, without its format."""
    return {name: facts for name, facts in job.told(file).items() if isinstance(facts, dict)}


def _curve(file: pathlib.Path) -> Iterator[JsonObject]:
    """The lines of metrics.jsonl, without one that is cut or damaged."""
    if not file.exists():
        return
    for line in file.read_text("utf-8", errors="replace").splitlines():
        try:
            point = json.loads(line)
        except ValueError:
            continue
        if isinstance(point, dict) and {"step", "split"} <= set(point):
            yield point


def _read_predictions(job: Job) -> dict[str, list[Line]]:
    file = job.folder / PREDICTIONS
    shown = mirror.shown(file)
    if not file.exists():
        raise JobDirError(
            f"{shown}: missing. A report is made of it. Evaluate the run, which writes it:"
            f" podtune evaluate {mirror.shown(job.folder)}"
        )
    try:
        job.files.verify(PREDICTIONS)
    except DamagedError as error:
        raise JobDirError(
            f"{error} Evaluate the run anew: podtune evaluate {mirror.shown(job.folder)}"
        ) from None
    splits: dict[str, list[Line]] = {}
    with file.open(encoding="utf-8") as opened:
        for number, text in enumerate(opened, 1):
            try:
                line = json.loads(text)
                splits.setdefault(line["split"], []).append(line)
            except (ValueError, KeyError, TypeError):
                raise JobDirError(
                    f"{shown}:{number}: it is no answer of an evaluation. Evaluate the run anew:"
                    f" podtune evaluate {mirror.shown(job.folder)}"
                ) from None
    if not splits:
        raise JobDirError(
            f"{shown}: it is empty, as the run has neither validation nor test. Give it one and"
            f" evaluate: podtune evaluate {mirror.shown(job.folder)} --data.test=FILE"
        )
    return splits
