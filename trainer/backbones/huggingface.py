"""Checkpoints in Hugging Face's format, read into our backbones and written back: config.json and safetensors.

One table per family (families.py) relates our weights to Hugging Face's tensors; reading and writing both follow it.
Pickled checkpoints (pytorch_model.bin) are never read: they can run code.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.backbones.families import FAMILIES, FIRST_BEHIND_PADDING
from trainer.backbones.label_names import read_id2label, read_label2id, task_of
from trainer.errors import WeightsError
from trainer.replacing import replaced_folder

if TYPE_CHECKING:
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.encoder import Encoder
    from trainer.backbones.layers import BackboneConfig

    Backbone = Encoder | Decoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_CONVERT = ("""Where PyTorch is installed, in that folder: python -c "import torch, safetensors.torch as s; tensors = """
            """torch.load('pytorch_model.bin', weights_only=True); s.save_file({k: v.clone() for k, v in tensors.items()}, """
            """'model.safetensors', {'format': 'pt'})\"""")
# Formats that are not read, and how to get out of each.
PICKLES = {
    "pytorch_model.bin": _CONVERT,
    "pytorch_model.bin.index.json": "Where PyTorch is installed, transformers writes safetensors: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW).",
    "tf_model.h5": "Convert it with transformers below 5: from_pretrained(FOLDER, from_tf=True), then save_pretrained.",
    "flax_model.msgpack": "Convert it with transformers below 5: from_pretrained(FOLDER, from_flax=True), then save_pretrained.",
    "model.ckpt.index": "Convert it with transformers below 5: from_pretrained(FOLDER, from_tf=True), then save_pretrained."}
TOKENIZER_FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                   "merges.txt", "spiece.model", "sentencepiece.bpe.model")

_HEAD_DROPOUTS = ("classifier_dropout", "token_classifier_dropout")
_MAY_BE_NULL = (*_HEAD_DROPOUTS, "pad_token_id", "intermediate_size")
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}  # embeddings have none: their path is the tensor
_LEGACY = {"gamma": "weight", "beta": "bias"}  # names in checkpoints converted from TensorFlow 1
_NO_POOLER = ("ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM", "LMHeadModel")  # classes built without one
_OTHER_PARTS = (  # tensors that task models add to an encoder, and buffers: not needed, hence not a mistake
    "cls.", "classifier.", "pre_classifier.", "qa_outputs.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "lm_head.",
    "discriminator_predictions.", "generator_predictions.", "generator_lm_head.", "sequence_summary.", "pooler.", "predictions.",
    "sop_classifier.", "score.", "multiple_choice_head.")
_BUFFERS = re.compile(r"embeddings\.(position_ids|token_type_ids)|h\.\d+\.attn\.(bias|masked_bias)")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a checkpoint did not have, and what was not taken from it: Hugging Face's tensor names."""

    new: list[str]  # freshly initialised
    unused: list[str]


@dataclasses.dataclass(frozen=True)
class TaskHead:
    """The part of a fine-tuned checkpoint that is not the backbone.

    Attributes:
        tensors: float32 under Hugging Face's names, such as classifier.weight (C, H).
        id2label, label2id: as config.json has them; None where it has none.
        problem_type, num_labels: the same.
        task: how the name of its class ends, such as ForTokenClassification; "" where config.json names none.
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
        The encoder's sizes and rates; the classifiers' dropouts fall back on the hidden one, as in Hugging Face.
    Raises:
        WeightsError: there is no such file, it is not JSON, or it asks for something that is not implemented.
    """
    return _parse_config(_read_json(Path(folder), CONFIG_FILE), where=str(Path(folder) / CONFIG_FILE))


def read_eos_id(folder: str | os.PathLike) -> int | None:
    """The token that config.json says ends a text; the first where there are several, None where it names none of the vocabulary.

    Raises:
        WeightsError: see `read_config`.
    """
    named, config = _read_json(Path(folder), CONFIG_FILE).get("eos_token_id"), read_config(folder)
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
        raise WeightsError(f"{folder} has {', '.join(pickles)} but no {WEIGHTS_FILE}: only safetensors are read, as a pickled file can"
                           f" run code. {PICKLES[pickles[0]]}")
    return False


def load_backbone(folder: str | os.PathLike, *, dtype: str = "float32", seed: int = 0, hidden_dropout: float | None = None,
                 attention_dropout: float | None = None, pooler: bool = True) -> tuple["Backbone", LoadReport]:
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
        WeightsError: see `read_config` and `has_weights`; or the tensors are damaged, missing, unknown or of another
            shape, all of them listed.
    """
    from trainer.backbones.decoder import Decoder
    from trainer.backbones.encoder import Encoder
    from trainer.backbones.layers import initial_value

    changes = {"hidden_dropout": hidden_dropout, "embedding_dropout": hidden_dropout, "attention_dropout": attention_dropout,
               "pooler": None if pooler else False}
    config = dataclasses.replace(read_config(folder), **{key: value for key, value in changes.items() if value is not None})
    pretrained = has_weights(folder)
    backbone = (Decoder if config.causal else Encoder)(config, seed=None, dtype=dtype)
    weights = backbone.weights_by_path()
    with _Tensors.open(folder, config.architecture) if pretrained else contextlib.nullcontext(_Tensors({}, {})) as tensors:
        unused = tensors.check({path: tuple(weight.shape) for path, weight in weights.items()}, config) if pretrained else []
        new = []
        for path, weight in weights.items():
            names = _tensor_names(path, config.architecture)
            if all(name in tensors.shapes for name in names):
                weight.assign(_fuse(path, [tensors.read(name) for name in names], config.architecture))
            else:
                weight.assign(initial_value(config, path, tuple(weight.shape), seed))
                new += names
    return backbone, LoadReport(new, unused)


def tensor_names(folder: str | os.PathLike) -> set[str]:
    """The names of a checkpoint's tensors, without the prefix of its backbone; none of them is read.

    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    with _Tensors.open(folder, read_config(folder).architecture) as tensors:
        return set(tensors.shapes)


def read_task_head(folder: str | os.PathLike) -> TaskHead:
    """Reads what a fine-tuned checkpoint adds to its backbone.

    Args:
        folder: with config.json; without weights the tensors are empty.
    Returns:
        The tensors and labels; None for what config.json does not say.
    Raises:
        WeightsError: see `read_config` and `has_weights`, or the file is damaged.
    """
    content, config = _read_json(Path(folder), CONFIG_FILE), read_config(folder)
    tensors = {}
    if has_weights(folder):
        with _Tensors.open(folder, config.architecture) as checkpoint:
            tensors = {name: checkpoint.read(name) for name in checkpoint.shapes if name.startswith(_OTHER_PARTS) and name[:7] != "pooler."}
    where = str(Path(folder) / CONFIG_FILE)
    id2label, label2id = read_id2label(content, where), read_label2id(content, where)
    problem_type, num_labels = content.get("problem_type"), content.get("num_labels")
    return TaskHead(tensors, id2label or None, label2id or None, problem_type if isinstance(problem_type, str) else None,
                    len(id2label) or (num_labels if type(num_labels) is int else None), task_of(content))


def backbone_tensors(backbone: "Backbone") -> dict[str, np.ndarray]:
    """The weights of a backbone as float32 arrays under Hugging Face's names, without the family's prefix."""
    tensors = {}
    for path, weight in backbone.weights_by_path().items():
        names = _tensor_names(path, backbone.config.architecture)
        tensors |= zip(names, _split(path, np.asarray(weight.value), len(names), backbone.config.architecture), strict=True)
    return tensors


def save_huggingface(folder: str | os.PathLike, backbone: "Backbone", source: str | os.PathLike | Mapping[str, Any], *,
                     head_tensors: Mapping[str, np.ndarray] | None = None, config_updates: Mapping[str, Any] | None = None,
                     tokenizer_folder: str | os.PathLike | None = None, tokenizer_updates: Mapping[str, Any] | None = None) -> None:
    """Writes a folder that `AutoModelFor….from_pretrained` loads; on failure nothing of it is left.

    Args:
        folder: to make; one that exists is replaced once the new one is complete.
        backbone: with the weights.
        source: the folder it came from, or the content of its config.json, which is kept.
        head_tensors: the task head under Hugging Face's names, such as classifier.weight (C, H).
        config_updates: keys of config.json to set, or None to leave out. `architectures` decides what is written: with ["BertModel"] the tensors
            are bare, otherwise prefixed; with a class that has no pooler there is none. `id2label` replaces `num_labels`.
        tokenizer_folder: its tokenizer files are copied.
        tokenizer_updates: keys of tokenizer_config.json to set.
    Raises:
        WeightsError: the source's config.json is missing or wrong.
        ValueError: the source describes another backbone, or the head is not one.
    """
    content = dict(source) if isinstance(source, Mapping) else _read_json(Path(source), CONFIG_FILE)
    config = _parse_config(content, where="source config.json")
    sizes = [field.name for field in dataclasses.fields(config) if "dropout" not in field.name and field.name != "pooler"]
    if differing := [name for name in sizes if getattr(config, name) != getattr(backbone.config, name)]:
        raise ValueError(f"expected a source config.json that describes the backbone. Received one that differs in {', '.join(differing)}")
    content |= config_updates or {}
    content = {key: value for key, value in content.items() if value is not None or key not in (config_updates or {})}
    content.pop("torch_dtype", None)  # older name of dtype
    if "id2label" in (config_updates or {}):
        content.pop("num_labels", None)
    architecture = (content.get("architectures") or [""])[0]
    prefix = "" if architecture.endswith("Model") and not architecture.endswith("LMHeadModel") else FAMILIES[config.architecture].prefix
    head = {name: np.asarray(tensor, np.float32) for name, tensor in (head_tensors or {}).items()}
    if strangers := [name for name in head if not name.startswith(_OTHER_PARTS)]:
        raise ValueError(f"expected head tensors named {', '.join(_OTHER_PARTS)}…. Received {', '.join(strangers)}")
    body = {prefix + name: tensor for name, tensor in backbone_tensors(backbone).items()
            if not (name.startswith("pooler.") and architecture.endswith(_NO_POOLER))}
    with replaced_folder(folder) as partial:
        _write_folder(partial, content | {"dtype": "float32"}, body | head, tokenizer_folder)
        if tokenizer_updates:
            file = partial / "tokenizer_config.json"
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            file.write_text(json.dumps({**known, **tokenizer_updates}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_folder(folder: Path, content: dict[str, Any], tensors: dict[str, np.ndarray], tokenizer: str | os.PathLike | None) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    # contiguous: safetensors writes the memory as it lies, whatever the strides
    try:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # which is no OSError
        raise OSError(str(error)) from error
    shutil.copymode(folder / CONFIG_FILE, folder / WEIGHTS_FILE)  # safetensors lets its owner alone read it
    for name in TOKENIZER_FILES if tokenizer is not None else ():
        if (Path(tokenizer) / name).exists():
            shutil.copyfile(Path(tokenizer) / name, folder / name)


def _parse_config(content: dict[str, Any], *, where: str) -> "BackboneConfig":
    from trainer.backbones.layers import BackboneConfig

    name = content.get("model_type")
    if name not in FAMILIES:
        raise WeightsError(f"{where}: model_type is {name!r}, which is not implemented: expected one of {', '.join(FAMILIES)}. "
                           "Choose another checkpoint in backbone.weights")
    family = FAMILIES[name]
    problems = [f"{key} is {json.dumps(content[key])}: only {json.dumps(needed)} is implemented; choose another checkpoint in backbone.weights"
                for key, needed in family.unsupported.items() if content.get(key) not in (None, needed)]
    values = {"architecture": name, **family.fixed}
    for field, (key, default) in family.keys.items():
        values[field] = content.get(key, content.get(family.aliases.get(key), default))
        if not _is_valid(field, values[field], default):
            is_share = type(default) is float or field in _HEAD_DROPOUTS
            example = default or (0.1 if is_share else 0 if default == 0 else 1024)
            problems.append(f"{key} is {values[field]!r}: expected a value like {example!r}")
    if problems:
        raise WeightsError(f"{where}: " + "; ".join(problems))
    values.setdefault("embedding_size", values["hidden_size"])
    values["intermediate_size"] = values["intermediate_size"] or 4 * values["hidden_size"]  # GPT-2's n_inner may be null
    if name in FIRST_BEHIND_PADDING:
        values["first_position"] = 1 + (values["pad_token_id"] or 0)
        values["max_positions"] -= values["first_position"]
    values |= {field: values["hidden_dropout"] for field in _HEAD_DROPOUTS if values[field] is None}
    try:
        return BackboneConfig(**values)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None


def _is_valid(field: str, value: Any, default: Any) -> bool:
    if value is None:
        return field in _MAY_BE_NULL
    if isinstance(default, str | bool):
        return type(value) is type(default)
    if isinstance(default, int) or (default is None and field not in _HEAD_DROPOUTS):
        return type(value) is int and value >= (field != "pad_token_id")
    return type(value) in (int, float) and 0 <= value < 1


def _list(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise WeightsError(f"there is no folder {folder}: expected one with {CONFIG_FILE} and {WEIGHTS_FILE}; correct backbone.weights")
    return sorted(entry.name for entry in folder.iterdir())


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    found = _list(folder)
    if name not in found:
        raise WeightsError(f"{folder} has no {name}, so it is not a checkpoint in Hugging Face's format:"
                           f" found {', '.join(found[:20]) or 'nothing'}; correct backbone.weights")
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{folder / name} is not JSON ({error}): download the checkpoint again") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{folder / name} holds a JSON {type(content).__name__}: expected an object")
    return content


def _tensor_names(path: str, architecture: str) -> list[str]:
    """Hugging Face's tensors of one of our weights: one, or the three of a fused kernel or bias."""
    module, _, leaf = path.rpartition("/")
    if leaf not in _LEAVES:
        module = path
    layer = module.split("/", 1)[0].removeprefix("layer_")
    theirs = FAMILIES[architecture].modules[module.replace(f"layer_{layer}/", "layer_#/", 1)]
    return [f"{name.replace('#', layer)}.{_LEAVES.get(leaf, 'weight')}" for name in ([theirs] if isinstance(theirs, str) else theirs)]


def _split(path: str, weight: np.ndarray, parts: int, architecture: str) -> list[np.ndarray]:
    """One of our weights as Hugging Face's tensors: kernels are (outputs, inputs) in most families."""
    return [part.T if _is_transposed(path, architecture) else part for part in np.split(weight, parts, axis=-1)]


def _fuse(path: str, tensors: list[np.ndarray], architecture: str) -> np.ndarray:
    """The inverse of `_split`."""
    return np.concatenate([tensor.T if _is_transposed(path, architecture) else tensor for tensor in tensors], axis=-1)


def _is_transposed(path: str, architecture: str) -> bool:
    return path.endswith("/kernel") and FAMILIES[architecture].kernels_transposed


class _Tensors:
    """The tensors of a checkpoint under bare, present-day names, read one at a time."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], readers: dict[str, Any]) -> None:
        self.shapes = shapes
        self.readers = readers  # name: function without arguments

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: str | os.PathLike, architecture: str) -> Iterator["_Tensors"]:
        """Opens one file or the shards of an index."""
        shapes, readers = {}, {}
        with contextlib.ExitStack() as stack:
            for path, wanted in _shards(Path(folder)):
                file = stack.enter_context(_open(path))
                names = set(file.keys())
                if absent := sorted(wanted - names):
                    raise WeightsError(f"{path} does not have {', '.join(absent[:10])}, which {INDEX_FILE} places there:"
                                       " download the checkpoint again")
                for name in names:
                    bare = _present_name(name).removeprefix(FAMILIES[architecture].prefix)
                    shapes[bare] = tuple(file.get_slice(name).get_shape())
                    readers[bare] = lambda file=file, name=name: file.get_tensor(name)
            # A language model may have been written with its output layer alone, which the embeddings are tied to.
            word = f"{FAMILIES[architecture].modules['embeddings/word']}.weight"
            if word not in shapes and "lm_head.weight" in shapes:
                shapes[word], readers[word] = shapes["lm_head.weight"], readers["lm_head.weight"]
            yield cls(shapes, readers)

    def read(self, name: str) -> np.ndarray:
        """The tensor as float32."""
        return self.readers[name]().astype(np.float32)

    def check(self, weights: dict[str, tuple[int, ...]], config: "BackboneConfig") -> list[str]:
        """Compares with our weights' shapes; returns what is not needed.

        Raises:
            WeightsError: tensors are missing, unknown or of another shape.
        """
        expected = {}
        for path, shape in weights.items():
            names = _tensor_names(path, config.architecture)
            expected |= {name: part.shape for name, part in zip(names, _split(path, np.broadcast_to(0, shape), len(names), config.architecture), strict=True)}
        missing = [name for name in expected if name not in self.shapes and not name.startswith("pooler.")]
        extra = sorted(set(self.shapes) - set(expected))
        unused = [name for name in extra if name.startswith(_OTHER_PARTS) or _BUFFERS.fullmatch(name)]
        unexpected = [name for name in extra if name not in unused]
        shape = [f"{name} expected {expected[name]} found {self.shapes[name]}" for name in expected
                 if self.shapes.get(name, expected[name]) != expected[name]]
        if groups := {k: v for k, v in {"missing": missing, "unexpected": unexpected, "shape": shape}.items() if v}:
            listed = "\n".join(f"  {group} ({len(names)}): {', '.join(names)}" for group, names in groups.items())
            raise WeightsError(f"the tensors do not fit {CONFIG_FILE} ({config.architecture}, {config.layers} layers, hidden size"
                               f" {config.hidden_size}): use the config.json that came with the weights\n{listed}")
        return unused


def _present_name(name: str) -> str:
    stem, dot, leaf = name.rpartition(".")
    return stem + dot + _LEGACY.get(leaf, leaf)


def _shards(folder: Path) -> list[tuple[Path, set[str]]]:
    """The weights' files, with the tensors that an index says each must have."""
    if (folder / WEIGHTS_FILE).exists():
        return [(folder / WEIGHTS_FILE, set())]
    places = _read_json(folder, INDEX_FILE).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{folder / INDEX_FILE} has no weight_map: download the checkpoint again")
    shards = {folder / Path(file).name: {name for name, place in places.items() if place == file} for file in places.values()}
    if absent := sorted(path.name for path in shards if not path.exists()):
        raise WeightsError(f"{folder} does not have {', '.join(absent)}, which {INDEX_FILE} names: download the checkpoint again")
    return sorted(shards.items())


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}): it has {path.stat().st_size:,} bytes{_expected_size(path)};"
                           " download the checkpoint again") from None


def _expected_size(path: Path) -> str:
    """What the header says about the file's size: 8 bytes with the header's length, the header, the tensors."""
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
            end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
            return " and no readable header"
    return f", its header announces {8 + length + end:,}"
