"""Checkpoints in Hugging Face's format, read into our backbones and written back: config.json and
safetensors.

One table per family (families.py) relates our weights to Hugging Face's tensors; reading and
writing both follow it. Pickled checkpoints (pytorch_model.bin) are never read: they can run code.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.backbones.families import families, task_parts
from trainer.backbones.folder_kinds import ADAPTER_FILE, advice
from trainer.backbones.label_names import read_id2label, read_label2id, task_of
from trainer.backbones.sizes import MOST_LAYERS, misfit, require_memory, sizes_found, weight_shapes
from trainer.backbones.tensor_files import INDEX_FILE, WEIGHTS_FILE, Tensor, read_headers
from trainer.backbones.tensor_names import BareNames, bare_names, family_of
from trainer.errors import WeightsError, shown_name, shown_value
from trainer.files.json_file import read_object
from trainer.files.replacing import replaced_folder

if TYPE_CHECKING:
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.encoder import Encoder

    Backbone = Encoder | Decoder

CONFIG_FILE = "config.json"
_CONVERT = (
    'Where PyTorch is installed, in that folder: python -c "import torch, safetensors.torch as s; '
    "tensors = torch.load('pytorch_model.bin', weights_only=True); "
    "s.save_file({k: v.clone() for k, v in tensors.items()}, "
    "'model.safetensors', {'format': 'pt'})\""
)
# Formats that are not read, and how to get out of each.
PICKLES = {
    "pytorch_model.bin": _CONVERT,
    "pytorch_model.bin.index.json": (
        "Where PyTorch is installed, transformers writes safetensors:"
        " AutoModel.from_pretrained(FOLDER).save_pretrained(NEW)."
    ),
    "tf_model.h5": (
        "Convert it with transformers below 5: from_pretrained(FOLDER, from_tf=True), then"
        " save_pretrained."
    ),
    "flax_model.msgpack": (
        "Convert it with transformers below 5: from_pretrained(FOLDER, from_flax=True), then"
        " save_pretrained."
    ),
    "model.ckpt.index": (
        "Convert it with transformers below 5: from_pretrained(FOLDER, from_tf=True), then"
        " save_pretrained."
    ),
}
TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)

_HEAD_DROPOUTS = ("classifier_dropout", "token_classifier_dropout")
# embeddings have none: their path is the tensor
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
# classes built without one
_NO_POOLER = ("ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM", "LMHeadModel")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a checkpoint did not have, and what was not taken from it:
    Hugging Face's tensor names.
    """

    new: list[str]  # freshly initialised
    unused: list[str]
    # on how they were read, where that is not plain
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class TaskHead:
    """The part of a fine-tuned checkpoint that is not the backbone.

    Attributes:
        tensors: float32 under Hugging Face's names, such as classifier.weight (C, H).
        id2label, label2id: as config.json has them; None where it has none.
        problem_type, num_labels: the same.
        task: how the name of its class ends, such as ForTokenClassification; "" where config.json
            names none.
    """

    tensors: dict[str, np.ndarray]
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = None
    num_labels: int | None = None
    task: str = ""

    @property
    def labels(self) -> list[str] | None:
        """The labels in the order of the rows; None where config.json names none."""
        of_row = self.id2label or {row: name for name, row in (self.label2id or {}).items()}
        return [of_row[row] for row in sorted(of_row)] or None


def read_config(folder: str | os.PathLike) -> "BackboneConfig":
    """Reads a checkpoint's config.json.

    Args:
        folder: with the checkpoint.
    Returns:
        The encoder's sizes and rates; the classifiers' dropouts fall back on the hidden one, as in
        Hugging Face.
    Raises:
        WeightsError: there is no such file, it is not JSON, or it asks for something that is not
            implemented.
    """
    return _parse_config(_read_content(Path(folder)), where=str(Path(folder) / CONFIG_FILE))


def require_weights_that_fit(folder: str | os.PathLike) -> None:
    """Compares config.json with the weights' headers, or with this machine's memory; nothing is
    allocated.

    Raises:
        WeightsError: see `read_config` and `has_weights`; or the tensors are damaged, missing,
            unknown or of another shape; or there are none, and what config.json describes is too
            large to make.
    """
    config = read_config(folder)
    if has_weights(folder):
        _Tensors.open(folder, config.architecture).check(config)
    require_memory(config, str(Path(folder) / CONFIG_FILE))


def read_eos_id(folder: str | os.PathLike) -> int | None:
    """The token that config.json says ends a text; the first where there are several, None where it
    names none of the vocabulary.

    Raises:
        WeightsError: see `read_config`.
    """
    named = _read_content(Path(folder)).get("eos_token_id")
    config = read_config(folder)
    first = named[0] if isinstance(named, list) and named else named
    return first if type(first) is int and 0 <= first < config.vocabulary_size else None


def has_weights(folder: str | os.PathLike) -> bool:
    """Whether the folder has safetensors weights.

    Raises:
        WeightsError: it has weights in a pickled or otherwise unsupported format only.
    """
    found = _list(Path(folder))
    if WEIGHTS_FILE in found or INDEX_FILE in found:
        return True
    if pickles := [name for name in PICKLES if name in found]:
        raise WeightsError(
            f"{folder} has {', '.join(pickles)} but no {WEIGHTS_FILE}: only safetensors are read,"
            f" as a pickled file can run code. {PICKLES[pickles[0]]}"
        )
    if ADAPTER_FILE in found:
        raise WeightsError(f"{folder}: {advice(Path(folder), found)}")
    return False


def load_backbone(
    folder: str | os.PathLike,
    *,
    dtype: str = "float32",
    seed: int = 0,
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
    pooler: bool = True,
) -> tuple["Backbone", LoadReport]:
    """Builds the encoder or decoder of a checkpoint and fills it.

    Args:
        folder: with config.json and the weights; without weights everything is freshly initialised.
        dtype: "float32" or "mixed_bfloat16"; the weights themselves are float32.
        seed: of what the checkpoint does not have.
        hidden_dropout: in place of what config.json says.
        attention_dropout: in place of what config.json says.
        pooler: False leaves BERT's pooler out, for heads that do not use it.
    Returns:
        backbone; report of what is new and what was left unused.
    Raises:
        WeightsError: see `read_config` and `has_weights`; or the tensors are damaged, missing,
            unknown or of another shape, all of them listed.
    """
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.encoder import Encoder
    from trainer.backbones.initial_values import initial_value

    changes = {
        "hidden_dropout": hidden_dropout,
        "embedding_dropout": hidden_dropout,
        "attention_dropout": attention_dropout,
        "pooler": None if pooler else False,
    }
    config = dataclasses.replace(
        read_config(folder), **{key: value for key, value in changes.items() if value is not None}
    )
    pretrained = has_weights(folder)
    tensors = (
        _Tensors.open(folder, config.architecture)
        if pretrained
        else _Tensors({}, BareNames({}, frozenset(), ""))
    )
    unused = tensors.check(config) if pretrained else []
    require_memory(config, str(Path(folder) / CONFIG_FILE))
    backbone = (Decoder if config.causal else Encoder)(config, seed=None, dtype=dtype)
    new = []
    for path, weight in backbone.weights_by_path().items():
        names = _tensor_names(path, config.architecture)
        if all(name in tensors.shapes for name in names):
            weight.assign(_fuse(path, [tensors.read(name) for name in names], config.architecture))
        else:
            weight.assign(initial_value(config, path, tuple(weight.shape), seed))
            new += names
    return backbone, LoadReport(new, unused, _notes(Path(folder), config, tensors))


def _notes(folder: Path, config: "BackboneConfig", tensors: "_Tensors") -> list[str]:
    """What was concluded rather than read."""
    notes = []
    if "model_type" not in _read_json(folder, CONFIG_FILE):
        notes.append(
            f"{CONFIG_FILE} has no model_type: by its"
            f" {'tensors' if tensors.shapes else 'architectures'} it is {config.architecture}"
        )
    if tensors.removed:
        notes.append(
            f"read without {shown_name(tensors.removed)}, which stands before its tensors' names"
        )
    return notes


def tensor_names(folder: str | os.PathLike) -> set[str]:
    """The names of a checkpoint's tensors, without the prefix of its backbone; none of them is
    read.

    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    return set(_Tensors.open(folder, read_config(folder).architecture).shapes)


def read_task_head(folder: str | os.PathLike) -> TaskHead:
    """Reads what a fine-tuned checkpoint adds to its backbone.

    Args:
        folder: with config.json; without weights the tensors are empty.
    Returns:
        The tensors and labels; None for what config.json does not say.
    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    content = _read_content(Path(folder))
    config = read_config(folder)
    tensors = {}
    if has_weights(folder):
        checkpoint = _Tensors.open(folder, config.architecture)
        tensors = {
            name: checkpoint.read(name)
            for name in checkpoint.shapes
            if name.startswith(task_parts())
        }
    where = str(Path(folder) / CONFIG_FILE)
    id2label = read_id2label(content, where)
    label2id = read_label2id(content, where)
    problem_type = content.get("problem_type")
    num_labels = content.get("num_labels")
    return TaskHead(
        tensors,
        id2label or None,
        label2id or None,
        problem_type if isinstance(problem_type, str) else None,
        len(id2label) or (num_labels if type(num_labels) is int else None),
        task_of(content),
    )


def backbone_tensors(backbone: "Backbone") -> dict[str, np.ndarray]:
    """The weights of a backbone as float32 arrays under Hugging Face's names, without the family's
    prefix.
    """
    tensors = {}
    for path, weight in backbone.weights_by_path().items():
        names = _tensor_names(path, backbone.config.architecture)
        tensors |= zip(
            names,
            _split(path, np.asarray(weight.value), len(names), backbone.config.architecture),
            strict=True,
        )
    return tensors


def save_huggingface(
    folder: str | os.PathLike,
    backbone: "Backbone",
    source: str | os.PathLike | Mapping[str, Any],
    *,
    head_tensors: Mapping[str, np.ndarray] | None = None,
    config_updates: Mapping[str, Any] | None = None,
    tokenizer_folder: str | os.PathLike | None = None,
    tokenizer_updates: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder that `AutoModelFor….from_pretrained` loads; on failure nothing of it is left.

    Args:
        folder: to make; one that exists is replaced once the new one is complete.
        backbone: with the weights.
        source: the folder it came from, or the content of its config.json, which is kept.
        head_tensors: the task head under Hugging Face's names, such as classifier.weight (C, H).
        config_updates: keys of config.json to set, or None to leave out. `architectures` decides
            what is written: with ["BertModel"] the tensors are bare, otherwise prefixed; with a
            class that has no pooler there is none. `id2label` replaces `num_labels`.
        tokenizer_folder: its tokenizer files are copied.
        tokenizer_updates: keys of tokenizer_config.json to set.
    Raises:
        WeightsError: the source's config.json is missing or wrong.
        ValueError: the source describes another backbone, or the head is not one.
    """
    content = (
        {"model_type": backbone.config.architecture, **source}
        if isinstance(source, Mapping)
        else _read_content(Path(source))
    )
    config = _parse_config(content, where="source config.json")
    sizes = [
        field.name
        for field in dataclasses.fields(config)
        if "dropout" not in field.name and field.name != "pooler"
    ]
    if differing := [
        name for name in sizes if getattr(config, name) != getattr(backbone.config, name)
    ]:
        raise ValueError(
            "expected a source config.json that describes the backbone. Received one that differs"
            f" in {', '.join(differing)}"
        )
    content |= config_updates or {}
    content = {
        key: value
        for key, value in content.items()
        if value is not None or key not in (config_updates or {})
    }
    content.pop("torch_dtype", None)  # older name of dtype
    if "id2label" in (config_updates or {}):
        content.pop("num_labels", None)
    architecture = (content.get("architectures") or [""])[0]
    prefix = (
        ""
        if architecture.endswith("Model") and not architecture.endswith("LMHeadModel")
        else config.family.prefix
    )
    head = {name: np.asarray(tensor, np.float32) for name, tensor in (head_tensors or {}).items()}
    if strangers := [name for name in head if not name.startswith(task_parts())]:
        raise ValueError(
            f"expected head tensors named {', '.join(task_parts())}…. Received"
            f" {', '.join(strangers)}"
        )
    body = {
        prefix + name: tensor
        for name, tensor in backbone_tensors(backbone).items()
        if not (name.startswith("pooler.") and architecture.endswith(_NO_POOLER))
    }
    with replaced_folder(folder) as partial:
        _write_folder(partial, content | {"dtype": "float32"}, body | head, tokenizer_folder)
        if tokenizer_updates:
            file = partial / "tokenizer_config.json"
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            file.write_text(
                json.dumps({**known, **tokenizer_updates}, indent=2, ensure_ascii=False) + "\n",
                encoding="utf-8",
            )


def _write_folder(
    folder: Path,
    content: dict[str, Any],
    tensors: dict[str, np.ndarray],
    tokenizer: str | os.PathLike | None,
) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    (folder / CONFIG_FILE).write_text(
        json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    # contiguous: safetensors writes the memory as it lies, whatever the strides
    try:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            folder / WEIGHTS_FILE,
            metadata={"format": "pt"},
        )
    except SafetensorError as error:  # which is no OSError
        raise OSError(str(error)) from error
    # safetensors lets its owner alone read it
    shutil.copymode(folder / CONFIG_FILE, folder / WEIGHTS_FILE)
    for name in TOKENIZER_FILES if tokenizer is not None else ():
        if (Path(tokenizer) / name).exists():
            shutil.copyfile(Path(tokenizer) / name, folder / name)


def _parse_config(content: dict[str, Any], *, where: str) -> "BackboneConfig":
    from trainer.backbones.config import BackboneConfig

    name = content.get("model_type")
    if not isinstance(name, str) or name not in families():
        raise WeightsError(
            f"{where}: model_type is {shown_value(name)}, which is not implemented: expected one of"
            f" {', '.join(families())}. Choose another checkpoint in backbone.weights"
        )
    family = families()[name]
    problems = [
        f"{key} is {_as_json(content[key])}: only {json.dumps(needed)} is implemented; choose"
        " another checkpoint in backbone.weights"
        for key, needed in family.required.items()
        if content.get(key) not in (None, needed)
    ]
    values: dict[str, Any] = {"architecture": name, **family.fixed}
    for field, key in family.config_keys.items():
        values[field] = key.value(content)
        if not key.is_valid(values[field]):
            problems.append(
                f"{key.name} is {shown_value(values[field])}: expected a value like {key.example!r}"
            )
    if problems:
        raise WeightsError(f"{where}: " + "; ".join(problems))
    values.setdefault("embedding_size", values["hidden_size"])
    # GPT-2's n_inner may be null
    values["intermediate_size"] = values["intermediate_size"] or 4 * values["hidden_size"]
    if family.positions_behind_padding:
        values["first_position"] = 1 + (values["pad_token_id"] or 0)
        values["max_positions"] -= values["first_position"]
        if values["max_positions"] < 1:
            raise WeightsError(
                f"{where}: max_position_embeddings leaves no position behind pad_token_id"
                f" {values['pad_token_id']}: correct them"
            )
    if values["pad_token_id"] is not None and values["pad_token_id"] >= values["vocabulary_size"]:
        raise WeightsError(
            f"{where}: pad_token_id is {values['pad_token_id']}: expected one of the"
            f" {values['vocabulary_size']:,} tokens of vocab_size"
        )
    values |= {field: values["hidden_dropout"] for field in _HEAD_DROPOUTS if values[field] is None}
    try:
        return BackboneConfig(**values)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None


def _as_json(value: Any) -> str:
    return (
        shown_name(json.dumps(value))
        if isinstance(value, str | bool | int | float)
        else shown_value(value)
    )


def _list(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {folder}: expected one with {CONFIG_FILE} and {WEIGHTS_FILE};"
            " correct backbone.weights"
        )
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be read: {error.strerror or error}. Correct its permissions"
        ) from None


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    found = _list(folder)
    if name not in found:
        listed = ", ".join(map(shown_name, found[:20])) or "nothing"
        what = advice(folder, found) or f"found {listed}; correct backbone.weights"
        raise WeightsError(
            f"{folder} has no {name}, so it is not a checkpoint in Hugging Face's format: {what}"
        )
    return read_object(folder / name)


def _read_content(folder: Path) -> dict[str, Any]:
    """config.json, with the model_type that it leaves out where the weights or the class
    tell it.
    """
    content = _read_json(folder, CONFIG_FILE)
    if content.get("model_type") is not None:
        return content
    found = _list(folder)
    if not any(name in found for name in (WEIGHTS_FILE, INDEX_FILE)) and (
        what := advice(folder, found)
    ):
        raise WeightsError(f"{folder / CONFIG_FILE} has no model_type: {what}")
    model_type = family_of(
        read_headers(folder) if has_weights(folder) else {}, content.get("architectures")
    )
    if model_type is None:
        raise WeightsError(
            f"{folder / CONFIG_FILE} has no model_type, and the tensors' names do not tell it. Set"
            f" it in {CONFIG_FILE}, to one of {', '.join(families())}, or choose another checkpoint"
            " in backbone.weights"
        )
    return content | {"model_type": model_type}


def _tensor_names(path: str, architecture: str) -> list[str]:
    """Hugging Face's tensors of one of our weights: one, or the three of a fused kernel or bias."""
    module, _, leaf = path.rpartition("/")
    if leaf not in _LEAVES:
        module = path
    layer = module.split("/", 1)[0].removeprefix("layer_")
    theirs = families()[architecture].modules[module.replace(f"layer_{layer}/", "layer_#/", 1)]
    return [
        f"{name.replace('#', layer)}.{_LEAVES.get(leaf, 'weight')}"
        for name in ([theirs] if isinstance(theirs, str) else theirs)
    ]


def _split(path: str, weight: np.ndarray, parts: int, architecture: str) -> list[np.ndarray]:
    """One of our weights as Hugging Face's tensors:
    kernels are (outputs, inputs) in most families.
    """
    return [
        part.T if _is_transposed(path, architecture) else part
        for part in np.split(weight, parts, axis=-1)
    ]


def _fuse(path: str, tensors: list[np.ndarray], architecture: str) -> np.ndarray:
    """The inverse of `_split`."""
    return np.concatenate(
        [tensor.T if _is_transposed(path, architecture) else tensor for tensor in tensors], axis=-1
    )


def _is_transposed(path: str, architecture: str) -> bool:
    return path.endswith("/kernel") and families()[architecture].kernels_transposed


class _Tensors:
    """The tensors of a checkpoint under bare, present-day names, read one at a time."""

    def __init__(self, tensors: dict[str, Tensor], names: BareNames) -> None:
        self.tensors = tensors
        self.outside = names.outside
        self.removed = names.removed
        self.shapes = {name: tensor.shape for name, tensor in tensors.items()}

    @classmethod
    def open(cls, folder: str | os.PathLike, architecture: str) -> "_Tensors":
        """Reads the headers of one file or of the shards of an index."""
        headers = read_headers(Path(folder))
        names = bare_names(headers, architecture)
        tensors = {bare: headers[name] for bare, name in names.theirs.items()}
        # A language model may have been written with its output layer alone, which the embeddings
        # are tied to.
        word = families()[architecture].word_embeddings
        if word not in tensors and "lm_head.weight" in tensors:
            tensors[word] = tensors["lm_head.weight"]
        return cls(tensors, names)

    def read(self, name: str) -> np.ndarray:
        """The tensor as float32."""
        return self.tensors[name].read()

    def check(self, config: "BackboneConfig") -> list[str]:
        """Compares with the shapes that a config asks for; returns what is not needed.

        Raises:
            WeightsError: tensors are missing, unknown, of another shape or of a type that is not
                read.
        """
        said = {
            key.name: getattr(config, field) for field, key in config.family.config_keys.items()
        }
        said[config.family.config_keys["max_positions"].name] = (
            config.max_positions + config.first_position
        )
        found = sizes_found(self.shapes, config.architecture)
        if config.own_layers > MOST_LAYERS:  # not to be listed
            raise WeightsError(misfit(config, said, found, {}))
        expected = {
            name: shape
            for path, shape in weight_shapes(config)
            for name, shape in _split_shapes(path, shape, config.architecture)
        }
        missing = [
            name for name in expected if name not in self.shapes and not name.startswith("pooler.")
        ]
        extra = sorted(set(self.shapes) - set(expected))
        unused = [
            name
            for name in extra
            if name in self.outside
            or name.startswith((*task_parts(), "pooler."))
            or config.family.has_buffer(name)
        ]
        unexpected = sorted(set(extra) - set(unused))
        shape = [
            f"{name} expected {expected[name]} found {self.shapes[name]}"
            for name in expected
            if self.shapes.get(name, expected[name]) != expected[name]
        ]
        if missing or unexpected or shape:
            raise WeightsError(
                misfit(
                    config,
                    said,
                    found,
                    {"missing": missing, "unexpected": unexpected, "shape": shape},
                )
            )
        for name in expected:
            if name in self.tensors:
                self.tensors[name].require_float()
        return unused


def _split_shapes(
    path: str, shape: tuple[int, ...], architecture: str
) -> list[tuple[str, tuple[int, ...]]]:
    """One of our weights' shape as those of Hugging Face's tensors, by their names."""
    names = _tensor_names(path, architecture)
    part = (*shape[:-1], shape[-1] // len(names))
    return [(name, part[::-1] if _is_transposed(path, architecture) else part) for name in names]
