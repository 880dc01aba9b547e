"""Added tokens, beside which a tokenizer stands in its graph."""

import collections

import pytest

from tests import toy
from trainer.data.encoding import encoder
from trainer.settings.schema import DataSettings
from trainer.settings.sections import plugin_module
from trainer.text import load_tokenizer


@pytest.mark.parametrize(
    ("write", "operation"),
    [
        (toy.write_checkpoint, "FastWordpieceTokenizeWithOffsets"),
        (toy.write_gpt2, "UnicodeDecode"),
    ],
)
@pytest.mark.parametrize("graph", ["_graph_ids", "_graph_spans"])
def test_a_tokenizer_stands_once_in_its_graph(tmp_path, write, operation, graph):
    """Not in a branch with added tokens and in one without."""
    tokenizer = load_tokenizer(write(tmp_path))
    traced = getattr(tokenizer, graph).get_concrete_function().graph.as_graph_def()
    nodes = [*traced.node]
    for function in traced.library.function:
        nodes += function.node_def
    operations = collections.Counter(node.op.removeprefix("TFText>") for node in nodes)
    assert operations[operation] == 1


@pytest.mark.parametrize(
    ("head", "fields"),
    [("classification", ["a", "b"]), ("question_answering", ["question", "context"])],
)
def test_two_texts_of_an_example_are_tokenized_at_once(tmp_path, head, fields):
    """The tokenizer's function is called once, and so run, and inlined, once."""
    module = plugin_module("trainer.heads", head)
    data = DataSettings(source="jsonl", train="", seq_len=96, text=fields)
    tokenizer = load_tokenizer(toy.write_checkpoint(tmp_path, weights=False))
    reader = module.make_head(module.Settings(), data, tokenizer).reader
    operations = encoder(reader).get_concrete_function().graph.get_operations()
    calls = [operation for operation in operations if operation.type.endswith("PartitionedCall")]
    assert len(calls) == 1
