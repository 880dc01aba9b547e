"""Added tokens, beside which a tokenizer stands in its graph."""

import collections

import pytest

from tests import toy
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
