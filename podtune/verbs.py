"""The verbs of the command: what each does, what it takes, and four examples.

A new verb is a row of VERBS and a function (arguments) -> exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OVERRIDE = ("--SECTION.KEY=VALUE", "any setting; podtune settings lists them")
CONFIG = ("CONFIG", "the run's YAML file; podtune init writes one")
JOB_DIR = ("JOB_DIR", "the folder of a run that was trained, here or on gs://")


class Verb(NamedTuple):
    """What the command can do.

    Attributes:
        line: what it does, in one line.
        usage: what stands behind its name.
        takes: arguments and flags of its own, each with its meaning.
        examples: whole commands.
        runs: the function that does it, "module:function".
    """

    line: str
    usage: str
    takes: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]
    runs: str


VERBS: Mapping[str, Verb] = {
    "init": Verb(
        "look at your data and write a config for it",
        "DATA",
        (
            (
                "DATA",
                "a file or folder: csv, tsv, jsonl, CoNLL, SQuAD, texts, folders; or tfds:NAME",
            ),
            ("--output=FILE", "where the config goes; default: the data's name, .yaml"),
            ("--text=COLUMN", "the column with the text; two, with a comma, for pairs"),
            ("--label=COLUMN", "the column with the label"),
            ("--head=NAME", "the task, such as classification or question_answering"),
            (
                "--weights=PLACE",
                "the pretrained model: a folder, hf://ORG/NAME, pkg://MODULE/FOLDER",
            ),
            ("--example=NAME", "copy a config that comes with podtune; NAME can be list"),
            ("--yes", "ask nothing"),
        ),
        (
            "podtune init reviews.csv",
            "podtune init reviews.csv --text=review --label=stars --yes",
            "podtune init train.conll --weights=hf://google-bert/bert-base-chinese",
            "podtune init --example=conll2003",
        ),
        "podtune.init:run",
    ),
    "train": Verb(
        "fine-tune, evaluate, export; started again, it goes on",
        "CONFIG",
        (
            CONFIG,
            ("--job_dir=DIR", "gets all that the run writes; default: runs/ and the config's name"),
            ("--seeds=0..4", "train with each of these seeds, and say how much of a score is luck"),
            OVERRIDE,
        ),
        (
            "podtune train reviews.yaml",
            "podtune train reviews.yaml --job_dir=runs/small_rate --train.learning_rate=2e-5",
            "podtune train reviews.yaml --train.epochs=1 --data.limit=500",
            "podtune train runs/small_rate",
        ),
        "podtune.modes:train",
    ),
    "plan": Verb(
        "say what a run would take, before it is paid for",
        "CONFIG",
        (
            CONFIG,
            ("--job_dir=DIR", "gets plan.json and ledger.json; default: only shown"),
            OVERRIDE,
        ),
        (
            "podtune plan reviews.yaml",
            "podtune plan reviews.yaml --train.global_batch_size=256",
            "podtune plan reviews.yaml --plan.tpu=v5e --plan.replicas=8",
            "podtune plan reviews.yaml --plan.price_per_chip_hour=1.2",
        ),
        "podtune.modes:plan",
    ),
    "evaluate": Verb(
        "score a trained model, on its own data or on others",
        "JOB_DIR",
        (JOB_DIR, OVERRIDE),
        (
            "podtune evaluate runs/reviews",
            "podtune evaluate runs/reviews --data.test=new_reviews.csv",
            "podtune evaluate runs/reviews --train.evaluation_batch_size=256",
            "podtune evaluate gs://bucket/runs/reviews",
        ),
        "podtune.modes:evaluate",
    ),
    "report": Verb(
        "show how good a trained model is, and where it fails, as a page",
        "JOB_DIR",
        (JOB_DIR, OVERRIDE),
        (
            "podtune report runs/reviews",
            "podtune report runs/reviews --report.language=zh",
            "podtune report runs/reviews --report.require='{accuracy: 0.9}' --report.fail",
            "podtune report gs://bucket/runs/reviews",
        ),
        "podtune.modes:report",
    ),
    "compare": Verb(
        "compare runs on the same examples: which is better, how surely",
        "JOB_DIR JOB_DIR …",
        (
            ("JOB_DIR", "a run that was trained and evaluated, here or on gs://; two or more"),
            ("--output=FILE", "the page; default: compare.html, with compare.json beside it"),
            ("--language=en", "of the page: en or zh"),
        ),
        (
            "podtune compare runs/small_rate runs/large_rate",
            "podtune compare runs/*",
            "podtune compare runs/a runs/b --output=rates.html",
            "podtune compare runs/a gs://bucket/runs/b --language=zh",
        ),
        "podtune.compare:run",
    ),
    "choose": Verb(
        "say which of several pretrained models to take",
        "CONFIG --backbones=A,B,…",
        (
            CONFIG,
            ("--backbones=A,B,…", "weights as backbone.weights has them; two or more"),
            ("--budget=30m", "in which all is to be done, about; default: no limit"),
            ("--job_dir=DIR", "gets the trainings and choice.html; default: runs/CONFIG_choice"),
            OVERRIDE,
        ),
        (
            "podtune choose reviews.yaml --backbones=hf://google-bert/bert-base-uncased,small",
            "podtune choose reviews.yaml --backbones=small,medium,large --budget=30m",
            "podtune choose reviews.yaml --backbones=small,large --train.epochs=1",
            "podtune choose reviews.yaml --backbones=small,large --report.language=zh",
        ),
        "podtune.choose:run",
    ),
    "explain": Verb(
        "show why a model answers as it does",
        "JOB_DIR --text=TEXT",
        (
            JOB_DIR,
            ("--text=TEXT", "what is explained; of questions --question and --context"),
            ("--text_pair=TEXT", "the second text, where the run takes pairs"),
            ("--output=FILE", "the page; default: explanation.html, with .json beside it"),
            ("--language=en", "of the page: en or zh"),
        ),
        (
            "podtune explain runs/reviews --text='A lovely film.'",
            "podtune explain runs/mrpc --text='He left.' --text_pair='He went away.'",
            "podtune explain runs/reviews --text='房间很干净' --language=zh",
            "podtune explain gs://bucket/runs/reviews --text='Dull.' --output=dull.html",
        ),
        "podtune.explain:run",
    ),
    "predict": Verb(
        "answer texts: at a prompt, or a file of them",
        "JOB_DIR [--input=FILE] [--output=FILE]",
        (
            JOB_DIR,
            ("--input=FILE", "JSON lines, or -; on a terminal the default is a prompt"),
            ("--output=FILE", "JSON lines, or - (the default)"),
            OVERRIDE,
        ),
        (
            "podtune predict runs/reviews",
            "podtune predict runs/reviews --input=new.jsonl --output=answers.jsonl",
            """echo '{"text": "A lovely film."}' | podtune predict runs/reviews --input=-""",
            "podtune predict gs://bucket/runs/reviews --input=gs://bucket/new.jsonl",
        ),
        "podtune.modes:predict",
    ),
    "export": Verb(
        "write a trained model for TensorFlow Serving, or for Hugging Face",
        "JOB_DIR",
        (JOB_DIR, OVERRIDE),
        (
            "podtune export runs/reviews",
            "podtune export runs/reviews --export.format=huggingface",
            "podtune export runs/reviews --export.directory=served/reviews --export.version=next",
            "podtune export runs/reviews --export.directory=gs://bucket/served/reviews",
        ),
        "podtune.modes:export",
    ),
    "push": Verb(
        "send an export to the Hugging Face hub, with its model card",
        "JOB_DIR ORG/NAME",
        (
            ("JOB_DIR", "a run that has one export; or the folder of an export; here or on gs://"),
            ("ORG/NAME", "the repository, made if it is not there"),
            ("--private", "make it for its owners alone"),
            ("--revision=BRANCH", "send to that branch, made if it is not there"),
            ("--message=TEXT", "of the commit"),
            ("--dry_run", "check all, list the files, send nothing"),
        ),
        (
            "podtune push runs/reviews anna/reviews --dry_run",
            "podtune push runs/reviews anna/reviews --private",
            "podtune push runs/reviews/huggingface anna/reviews --revision=small_rate",
            'podtune push served/reviews/3 anna/reviews --message="Three epochs"',
        ),
        "podtune.push:run",
    ),
    "submit": Verb(
        "train on Vertex AI, after checking all that can be checked here",
        "CONFIG --project=PROJECT --bucket=gs://BUCKET",
        (
            CONFIG,
            ("--project, --region", "of Google Cloud"),
            ("--bucket=gs://BUCKET", "gets the config, this machine's inputs and the job_dir"),
            ("--accelerator=NAME:COUNT", "cpu, l4:1, a100:8, tpu-v5e:8, …"),
            ("--dry_run", "print the request and send nothing; --wait: until the job has ended"),
            ("--tune, --trials, --goal", "search for the best settings; docs/vertex.md"),
            OVERRIDE,
        ),
        (
            "podtune submit reviews.yaml --project=mine --bucket=gs://mine --dry_run",
            "podtune submit reviews.yaml --project=mine --bucket=gs://mine --accelerator=l4:1",
            "podtune submit reviews.yaml --project=mine --bucket=gs://mine"
            " --accelerator=tpu-v5e:8 --wait",
            "podtune submit reviews.yaml --project=mine --bucket=gs://mine --accelerator=l4:1"
            " --tune=train.learning_rate:1e-5..1e-4:log --goal=maximize:validation.accuracy",
        ),
        "podtune.cloud:submit",
    ),
    "deploy": Verb(
        "serve a trained model on Vertex AI",
        "MODEL --project=PROJECT --bucket=gs://BUCKET",
        (
            ("MODEL", "a SavedModel on gs://, or a run's JOB_DIR"),
            ("--project, --region", "of Google Cloud"),
            ("--machine_type=NAME", "that serves; --replicas, --max_replicas: how many"),
            ("--endpoint=NUMBER", "default: a new one; none: upload only"),
            ("--dry_run", "print the request and send nothing"),
        ),
        (
            "podtune deploy runs/reviews --project=mine --bucket=gs://mine --dry_run",
            "podtune deploy runs/reviews --project=mine --bucket=gs://mine",
            "podtune deploy runs/reviews --project=mine --bucket=gs://mine --endpoint=none",
            "podtune deploy gs://mine/runs/reviews --project=mine --bucket=gs://mine"
            " --replicas=1 --max_replicas=4",
        ),
        "podtune.cloud:deploy",
    ),
    "settings": Verb(
        "list the settings, or those about a word",
        "[WORD ...]",
        (("WORD", "in a setting's name or meaning, or what another library calls it"),),
        (
            "podtune settings",
            "podtune settings learning_rate",
            "podtune settings batch",
            "podtune settings train.",
        ),
        "podtune.settings_list:run",
    ),
    "doctor": Verb(
        "say what this machine has and whether podtune works on it",
        "[--quick] [--json]",
        (
            ("--quick", "without the self-test, which trains, exports and asks a small model"),
            ("--json", "for machines"),
        ),
        (
            "podtune doctor",
            "podtune doctor --quick",
            "podtune doctor --json",
            "podtune doctor > report.txt",
        ),
        "podtune.doctor:run",
    ),
    "completion": Verb(
        "print what completes commands in your shell",
        "bash | zsh | fish",
        (("bash, zsh, fish", "your shell"),),
        (
            'eval "$(podtune completion bash)"',
            "podtune completion bash >> ~/.bashrc",
            "podtune completion zsh > ~/.zfunc/_podtune",
            "podtune completion fish > ~/.config/fish/completions/podtune.fish",
        ),
        "podtune.completion:run",
    ),
}
