"""The schema of a run: every setting with its type, bounds, default and meaning.

The one home of a default.

The sections of a head and of a data source live beside their code, in `trainer/heads/NAME.py` and
`trainer/sources/NAME.py`, as a class `Settings`: the config value is the module name.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import pydantic
from pydantic import ConfigDict, Field, SerializeAsAny

# What no run can mean, refused before anything is read. Where the data or the machine allow less,
# that is checked where they are known.
MOST = {
    "seq_len": 2**20,
    "epochs": 1e6,
    "replicas": 4096,
    "steps_per_call": 10_000,
    "check_examples": 10**6,
    "tpu_wait_minutes": 1e5,
    "epsilon": 1.0,
    "limit": 10**12,
    "stream_characters": 10**12,
    "version": 2**53,
    "seed": 2**31,
    "sampling_seed": 2**31,
    "timeout_hours": 1e4,
    "max_wait_hours": 1e4,
    "n_best": 10_000,
    "num_beams": 1000,
    "no_repeat_ngram_size": 10_000,
    "max_new_tokens": 2**20,
}
MOST_INTEGER = 10**9  # of all others: what is counted in 32 bits
MOST_FLOAT = 3.4e38  # what float32 holds
DEFAULT_EPOCHS = 3  # where the config gives neither epochs nor steps
Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
LaterStep = Annotated[int, Field(ge=2)]  # the first compiles
# beside a Fraction, where a number out of bounds must not become text
Place = Annotated[str, pydantic.Strict()]


def parts_of(value: object) -> list[object]:
    """What a mapping or a list holds; another value is the only part of itself."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


@dataclasses.dataclass(frozen=True)
class MovedKey:
    """A key that was of a head or a source, and is another one's.

    Attributes:
        to: the name of that one.
        unused: the value by which the key was not used, as an old run's config.yaml may have it.
    """

    to: str
    unused: object


class Section(pydantic.BaseModel):
    """A part of the config: unknown keys are refused, infinite numbers and NaN too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )
    moved_keys: ClassVar[Mapping[str, MovedKey]] = {}

    @pydantic.field_validator("*")
    @classmethod
    def _computable(cls, value: object, info: pydantic.ValidationInfo) -> object:
        """Refuses numbers that what computes with them cannot hold."""
        for part in parts_of(value):
            if not isinstance(part, int | float):
                continue
            most = MOST_INTEGER if isinstance(part, int) else MOST_FLOAT
            most = MOST.get(str(info.field_name), most)
            if abs(part) > most:
                shown = f"{most:,}" if isinstance(most, int) else f"{most:g}"
                raise ValueError(f"expected at most {shown}")
        return value


class HeadSettings(Section):
    """What every head has; `trainer/heads/NAME.py` adds its own.

    Attributes:
        has_classes: whether its labels are classes, so that settings of the data about classes are
            of use.
    """

    has_classes: ClassVar[bool] = False

    name: str = Field(description="which head")
    dropout: Probability | None = Field(
        None, description="before the output layer; null: what the checkpoint's config.json says"
    )


class DataSettings(Section):
    """What every source has; `trainer/sources/NAME.py` adds its own."""

    source: str = Field(description="which format")
    train: str = Field(description="path, glob, pkg://module/folder, or a TFDS split")
    validation: Fraction | Place | None = Field(
        None, description="the same, or a fraction held out of train by content hash"
    )
    test: Fraction | Place | None = Field(
        None, description="the same, or a fraction held out of train by content hash"
    )
    text: str | Annotated[list[str], Field(min_length=1, max_length=2)] = Field(
        "text", description="field with the text; two fields make a pair"
    )
    label: str | Annotated[list[str], Field(min_length=1)] = Field(
        "label",
        description=(
            "field with the label; multi_label: or a list of fields of 0 and 1, one for each label"
        ),
    )
    unlabelled: Literal["drop", "error"] = Field(
        "drop",
        description=(
            "classification: examples without a gold label (empty, null, or -1 and - where those"
            " are no class): leave out, or refuse"
        ),
    )
    exclude_labels: list[str] = Field(
        [], description="classification: labels that are left out, such as unsup of IMDB's folders"
    )
    unseen_labels: Literal["score", "error"] = Field(
        "score",
        description=(
            "classification: labels that only validation or test has: count as missed, or refuse"
        ),
    )
    span_keys: dict[str, str] | None = Field(
        None,
        description=(
            "token_classification, spans of a text: the names of a span's start, end, label and"
            " text, where they have others"
        ),
    )
    seq_len: int = Field(
        128, ge=4, description="S: tokens of a row at most, special tokens included"
    )
    overflow: Literal["truncate", "head_tail", "window", "error"] | None = Field(
        None,
        description=(
            "texts over seq_len: keep the start; keep start and end; several rows; refuse;"
            " null: window where every token is scored, else truncate"
        ),
    )
    window_overlap: int | None = Field(
        None,
        ge=0,
        description=(
            "overflow window: tokens that neighbouring rows share; null: a quarter of a row; for"
            " answers a third, or one's greatest length"
        ),
    )
    batching: Literal["packed", "bucketed", "fixed"] = Field(
        "packed",
        description=(
            "rows hold several examples; one example each, as long as the longest; one each,"
            " seq_len long"
        ),
    )
    stream_characters: int | None = Field(
        None,
        ge=1000,
        description=(
            "language models: do not store train, but read so many characters at a time, train on"
            " their rows in random order, then on the next; for corpora too large to store"
        ),
    )
    limit: int | None = Field(None, ge=1, description="use the first N examples of train only")
    part: Fraction | None = Field(
        None,
        description=(
            "use this share of train only, chosen by the hash of each example; a smaller share is"
            " part of a larger one"
        ),
    )
    fallback_encoding: str | None = Field(
        None,
        description=(
            "of files that are not UTF-8 as a whole, like windows-1252 or gb18030; null: refuse"
            " them"
        ),
    )
    cache_dir: str | None = Field(
        None, description="where encoded splits are kept; null: ~/.cache/podtune"
    )

    @pydantic.field_validator("fallback_encoding")
    @classmethod
    def _refuse_unknown_encoding(cls, value: str | None) -> str | None:
        try:
            # refuses rot13 and the like too, as codecs.lookup does not
            b"ab".decode(value or "utf-8", "ignore")
        except (LookupError, ValueError):
            raise ValueError(
                f"unknown encoding {value!r}; known are utf-8, windows-1252, gb18030, big5,"
                " shift_jis, utf-16, …"
            ) from None
        return value

    @property
    def label_fields(self) -> list[str]:
        """The fields that `label` names."""
        return [self.label] if isinstance(self.label, str) else self.label

    @property
    def public_name(self) -> str | None:
        """By which others know the data set; None where it is one's own files."""
        return None


class BackboneSettings(Section):
    """The pretrained backbone."""

    weights: str = Field(
        description=(
            "checkpoint in Hugging Face's format: a folder, pkg://module/folder,"
            " hf://org/name[@revision]; a folder with config.json alone starts from random values"
        )
    )
    tokenizer: str | None = Field(
        None, description="folder with the tokenizer's files; null: the weights folder"
    )
    hidden_dropout: Probability | None = Field(None, description="null: what config.json says")
    attention_dropout: Probability | None = Field(None, description="null: what config.json says")
    freeze_embeddings: bool = Field(False, description="do not train the embeddings")
    freeze_layers: int = Field(0, ge=0, description="do not train the first k layers")


class TrainSettings(Section):
    """Optimisation, evaluation and checkpoints."""

    epochs: float | None = Field(
        None, gt=0, description=f"passes over train; null: {DEFAULT_EPOCHS}, unless steps is given"
    )
    steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    global_batch_size: int = Field(
        32, ge=1, description="examples per optimizer step, over all replicas and micro-batches"
    )
    micro_batches: int = Field(
        1,
        ge=1,
        description="parts of a replica's batch, computed one after the other to save memory",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of initial values, shuffling and dropout")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"] = Field(
        "float32",
        description=(
            "of the matrix products; float16, for GPUs without bfloat16, scales the loss; auto:"
            " bfloat16 where the device is faster with it, which a CPU is asked by a measurement"
        ),
    )
    xla: Literal["auto", "on", "parts", "off"] = Field(
        "auto",
        description=(
            "compile the whole step, or the parts of it that multiply no matrices; auto: the whole"
            " step on accelerators, on a CPU the update alone"
        ),
    )
    lanes: int | None = Field(
        None,
        ge=1,
        le=64,
        description=(
            "parts of a batch that the cores of a CPU read side by side, each on its own; null: 2"
            " where there are two cores, else 1"
        ),
    )
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "adafactor"] = Field(
        "adamw", description="update rule"
    )
    learning_rate: float = Field(5e-5, gt=0, le=10, description="at the end of warm-up")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="after warm-up: to 0 linearly, to 0 by a half cosine, or flat"
    )
    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="of all steps, the rate rising linearly from 0"
    )
    weight_decay: float = Field(
        0.01, ge=0, lt=1, description="decoupled (adamw); never on biases and norms"
    )
    beta_1: Probability = Field(0.9, description="adamw, adam")
    beta_2: Probability = Field(0.999, description="adamw, adam; of the mean square for rmsprop")
    epsilon: float = Field(1e-8, gt=0, description="adamw, adam, rmsprop")
    ema_decay: Fraction | None = Field(
        None,
        description=(
            "evaluate and export the exponential moving average of the weights, with this decay a"
            " step"
        ),
    )
    momentum: Probability = Field(0.9, description="sgd, rmsprop")
    moments: Literal["float32", "bfloat16"] = Field(
        "float32",
        description=(
            "in what the optimizer remembers its moving averages; bfloat16, rounded at random so"
            " that they are right on average, takes half of the memory"
        ),
    )
    clip_norm: float | None = Field(
        1.0, gt=0, description="global norm of the gradients at most; null: no clipping"
    )
    steps_per_call: int = Field(1, ge=1, description="optimizer steps per call from Python")
    log_every_steps: int = Field(10, ge=1, description="one line of metrics.jsonl each")
    evaluate_every_steps: int = Field(
        0, ge=0, description="0: at the end of each epoch; of streamed data, at the end"
    )
    evaluation_batch_size: int = Field(64, ge=1, description="examples per evaluation batch")
    checkpoint_every_steps: int = Field(
        200, ge=1, description="also at every evaluation and at the end"
    )
    keep_checkpoints: int = Field(2, ge=1, description="the newest N, plus the best")
    best_metric: str | None = Field(
        None,
        description=(
            "validation metric that picks the checkpoint to export; null: the last step is exported"
            " (with early stopping: the head's main metric)"
        ),
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="stop after N evaluations without a better best_metric"
    )
    early_stopping_min_delta: float = Field(0.0, ge=0, description="what counts as better")


class LogSettings(Section):
    """Where a run's figures go besides its job_dir."""

    trackers: list[Literal["mlflow", "wandb", "vertex"]] = Field(
        [],
        description=(
            "log to MLflow, Weights & Biases or Vertex AI Experiments too; each needs the extra of"
            " its name"
        ),
    )
    experiment: str | None = Field(
        None,
        min_length=1,
        description=(
            "the experiment there, of wandb the project; null: what the tracker's own variable"
            " says, such as MLFLOW_EXPERIMENT_NAME, or podtune"
        ),
    )

    profile_steps: Annotated[list[LaterStep], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description=(
            "the first and the last of some steps, such as [20, 30], that are profiled for"
            " TensorBoard's profile tab"
        ),
    )

    @pydantic.field_validator("profile_steps")
    @classmethod
    def _in_order(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("expected the first step, and one that is not before it")
        return value

    @pydantic.field_validator("trackers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A flag's --log.trackers=mlflow,wandb as the list that it means."""
        return value.split(",") if isinstance(value, str) else value


class ReportSettings(Section):
    """What is kept to see how good the model is, and where it fails."""

    predictions: bool = Field(
        True,
        description=(
            "keep the answer to each example of validation and test, with its text, in"
            " predictions.jsonl"
        ),
    )
    write: bool = Field(
        True, description="write report.html and report.json of them at the end of the run"
    )
    language: Literal["en", "zh"] = Field("en", description="of the report")
    explained: int = Field(
        8,
        ge=0,
        description="how many answers of a classifier are explained; each takes about a second",
    )
    probed: int = Field(
        1000,
        ge=0,
        description=(
            "on how many examples of train a linear model learns the labels from the states of each"
            " layer"
        ),
    )
    perturbed: int = Field(
        100,
        ge=0,
        description=(
            "on how many texts a classifier with one label is asked whether typos, case,"
            " punctuation and the like change its answer"
        ),
    )
    attacked: int = Field(
        20,
        ge=0,
        description=(
            "on how many texts of such a classifier a change of a few words is searched for that"
            " changes its answer"
        ),
    )
    baselines: bool = Field(
        True, description="try simple methods on the same data, such as TF-IDF; it takes seconds"
    )
    near_duplicates: bool = Field(
        True,
        description=(
            "look for examples of validation and test that train has, but for a word or two; it"
            " takes seconds"
        ),
    )
    require: dict[str, float] = Field(
        {},
        description=(
            "what metrics must reach, such as {accuracy: 0.9}; a loss or perplexity at most"
        ),
    )
    behaviour: str | None = Field(
        None, description="file of behavioural tests, in YAML; see the page on reports"
    )
    against: str | None = Field(
        None, description="job_dir of an earlier run, which the verdict compares this one with"
    )
    fail: bool = Field(
        False,
        description="end with exit code 3 where report.require or report.behaviour is not met",
    )


class DistributionSettings(Section):
    """Where the steps run."""

    strategy: Literal["auto", "tpu", "multi_worker", "mirrored", "one_device"] = Field(
        "auto",
        description=(
            "auto: a TPU, several workers or several GPUs where the environment shows them, else"
            " one device"
        ),
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description=(
            "GPUs of a host to use, null: all; mirrored without a GPU: so many virtual CPUs"
        ),
    )
    collectives: Literal["auto", "nccl", "ring", "hierarchical", "reduce_to_one"] = Field(
        "auto",
        description=(
            "how replicas sum: multi_worker nccl or ring; mirrored nccl, hierarchical or"
            " reduce_to_one"
        ),
    )
    tpu: str | None = Field(
        None, description="name or grpc address of the TPU; null: TPU_NAME, or this machine's"
    )
    tpu_wait_minutes: float = Field(10.0, ge=0, description="how long to wait for a busy TPU")


class PlanSettings(Section):
    """What `--mode=plan` looks at besides the data."""

    tpu: Literal["v2", "v3", "v4", "v5e", "v5p", "v6e"] | None = Field(
        None,
        description=(
            "compile the steps of this run for that TPU generation, without one (needs the tpu-plan"
            " extra)"
        ),
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="how many replicas to plan for; null: those of this machine, or 8 for a TPU",
    )
    price_per_chip_hour: float | None = Field(
        None, ge=0, description="in any currency; then the cost of an epoch is estimated"
    )
    xla: bool = Field(False, description="compile every shape with XLA on this machine")


class ExportSettings(Section):
    """What `--mode=export` and the end of a training run write."""

    format: Literal["savedmodel", "huggingface", "none"] = Field(
        "savedmodel", description="for TensorFlow Serving, or for AutoModelFor…"
    )
    directory: str | None = Field(
        None, description="null: job_dir/model (savedmodel), job_dir/huggingface"
    )
    version: Annotated[int, Field(ge=1)] | Literal["next"] | None = Field(
        None,
        description=(
            "folder in the directory, as TensorFlow Serving watches for: a number, or next; null:"
            " the directory itself"
        ),
    )
    batch_invariant: bool = Field(
        False,
        description=(
            "a SavedModel answers each text on its own, so that no answer depends on what is asked"
            " along with it, to the last bit; slower"
        ),
    )
    only_if_met: bool = Field(
        False,
        description=(
            "export only a model that meets report.require and report.behaviour; else exit code 3"
        ),
    )
    check_examples: int = Field(
        32, ge=1, description="validation examples a fresh process must predict alike"
    )


class Config(Section):
    """One run. `head` and `data` are refined to the Settings of their module."""

    head: SerializeAsAny[HeadSettings]
    backbone: BackboneSettings
    data: SerializeAsAny[DataSettings]
    train: TrainSettings = TrainSettings()
    log: LogSettings = LogSettings()
    report: ReportSettings = ReportSettings()
    distribution: DistributionSettings = DistributionSettings()
    export: ExportSettings = ExportSettings()
    plan: PlanSettings = PlanSettings()
