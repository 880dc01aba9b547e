"""The heads: one file each, found by its name in the config (`head.name`).

A head's file has a `Settings` and a `Head(settings, data_settings, tokenizer)` with

    check                 whether the backbone is one for the head; ConfigError
    texts, label          raw text and label of an example; DataError names file:line
    learn, label_columns  what train teaches (the label names), and the labels of a split as
    numbers, with extras for the metrics;
                          label_counts how often each occurs, label_range of numbers the lowest,
                          mean and highest
    encode                texts -> token columns, in the graph; the same function serves
    build, logits, loss   the layers above the backbone, and their loss as (sum, weight)
    warnings              what a person should know of the encoded splits
    results               what evaluation keeps of the logits, in the graph; `per_token` names those
    with a value a token metrics, main_metric  of the results over a whole split, on the host, and
    which of them picks the checkpoint; `lower_is_better` names
                          those that improve downward; per_label for the kept model
    answers, decode       what the SavedModel makes of the results, in the graph, and one of them as
    JSON, for the example that
                          was asked; token_answers to token ids, of which `more_inputs` names what
                          else it takes
    undefined_metrics     those that a split cannot give, and why
    remark                what an answer suffers from, for a warning
    calibrate             chooses what validation decides, such as a threshold; load_calibration
    takes it over later ambiguous             where the answers may differ although the results
    agree load_tensors, save_tensors   the layers in Hugging Face's format; `no_huggingface` says
    why that has no place for them, if so;
                          what is taken of a checkpoint is a `CarriedOver`, with the reason where
                          its layers are not

A head with `windows` cuts long texts into several rows, so that none of their tokens is lost: its
`encode` has a column `example`, which text each row is of, and it has `align`, which finds the
labels' tokens, in place of `label_columns`. A head that `recuts` lets rows begin anywhere in the
split's tokens (language models): `finish_rows` sees each batch of rows, `recut` all. One that
`draws` makes token columns anew at each step (`draw`). The column `target` says what is predicted
where; of `scored_share` of the tokens at most. What it needs besides in a served batch `served`
makes. With `evaluated_as_served` false evaluation's results are not those of the raw texts, so that
the export is proved by the serving graph itself, on `proof_samples`.

A head that `generates` has `generate`, from texts to texts, `generate_many` for files, and
`stream`. `judge` adds the metrics that `judged` names and that take more than evaluation's results,
from what `kept` has stored of a split: of the kept model, and after each evaluation where one of
them is train.best_metric. `asked` are the texts that predict answers, where those are fewer than
what is learnt from. One that `streams` learns nothing from train as a whole, so that train may be
read in blocks. One that `lives_on_pretraining` is of little use where the checkpoint has not its
layers. BERT's pooler is part of the model only for one that `uses_pooler`.

A head that `classifies` reads a label as a name or a tuple of names, or None where there is none;
`given_labels` are those that its settings name, if they do, and `plain_name` is how a written label
is known.

`overflows` are the values of data.overflow that the head takes, its own default first.

`grouping` says by which of its texts an example falls into train or a fraction held out of it. With
`keeps_texts` its
metrics need the texts of validation and test: `align` finds the last of each as `split.kept`, in
UTF-8.

What `align` and `label_columns` make of a split they write to `split.writer` as they go, see
trainer/heads/_writer.py: a list of all its examples has no place in memory.
"""

from typing import Any

from trainer.errors import ConfigError
from trainer.heads._classifier import Classifier
from trainer.heads.contract import Head
from trainer.settings.schema import DataSettings, HeadSettings, plugin_module


def make_head(settings: HeadSettings, data: DataSettings, tokenizer: Any) -> Head:
    """The head that the config names.

    Raises ConfigError where settings of the data are for heads of another kind.
    """
    head = plugin_module("trainer.heads", settings.name).Head
    if not issubclass(head, Classifier):
        _refuse_label_settings(settings.name, data)
    if data.span_keys and settings.name != "token_classification":
        raise ConfigError(
            f"data.span_keys: is of head token_classification. Received head {settings.name}. Leave"
            " it out."
        )
    return head(settings, data, tokenizer)


def _refuse_label_settings(name: str, data: DataSettings) -> None:
    if not isinstance(data.label, str):
        raise ConfigError(f"data.label: head {name} takes one field. Received {data.label}.")
    for key in ("unlabelled", "exclude_labels", "unseen_labels"):
        if getattr(data, key) != type(data).model_fields[key].default:
            raise ConfigError(
                f"data.{key}: is of classification, and head {name} has no classes. Leave it out."
            )
