"""Questions, their reader, graph and scorer together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainer.data.reader import Vocabulary
from trainer.errors import ConfigError
from trainer.heads._hub_task import HubTask, in_quotes
from trainer.heads.contract import Graph, Head, Metric, Scorer
from trainer.heads.question_answering.graph import QuestionGraph, make_graph
from trainer.heads.question_answering.reader import QuestionReader, make_reader
from trainer.heads.question_answering.scorer import METRICS, QuestionScorer
from trainer.heads.question_answering.settings import Settings
from trainer.settings.schema import DataSettings

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.text.tokenizer import Tokenizer

SAMPLE = {"question": "Where does Anna live?", "context": "Anna lives in Mainz."}
# transformers has no pipeline for it
USAGE = f"""import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForQuestionAnswering.from_pretrained("FOLDER")
tokens = tokenizer({", ".join(map(in_quotes, SAMPLE.values()))}, return_tensors="pt")
with torch.no_grad():
    answers = model(**tokens)
start, end = answers.start_logits.argmax(), answers.end_logits.argmax()
print(tokenizer.decode(tokens["input_ids"][0, start : end + 1]))
"""
HUB_TASK = HubTask(
    tag="question-answering",
    auto_class="AutoModelForQuestionAnswering",
    sample=SAMPLE,
    usage=USAGE,
    folder_tag="question-answering",
)


@dataclasses.dataclass(frozen=True)
class QuestionHead(Head):
    """Answers that are spans of a context."""

    settings: Settings
    reader: QuestionReader
    hub_task = HUB_TASK

    def check(self, backbone: BackboneConfig) -> None:
        """Every backbone is one for the head."""

    def build(self, backbone: Backbone, vocabulary: Vocabulary, seed: int) -> QuestionGraph:
        """Makes the layer above the backbone.

        Args:
            backbone: with its weights.
            vocabulary: what train taught.
            seed: of the initial values.
        """
        return make_graph(self.settings, backbone, vocabulary, seed)

    def scorer(self, graph: Graph) -> Scorer:
        """Says how good the answers of a graph are. SQuAD's official figures."""
        assert isinstance(graph, QuestionGraph)  # that `build` made
        return QuestionScorer(graph.rule, self.settings.language)

    def available_metrics(self, vocabulary: Vocabulary | None = None) -> tuple[Metric, ...]:
        """SQuAD's figures; those of HasAns and NoAns where a split has both kinds."""
        return METRICS


def make_head(settings: Settings, data: DataSettings, tokenizer: Tokenizer) -> QuestionHead:
    """The head that the config asks for.

    Args:
        settings: of the head.
        data: of the config.
        tokenizer: of question and context.
    Raises:
        ConfigError: the settings do not go together.
    """
    reader = make_reader(settings, data, tokenizer)
    if settings.top_k > settings.n_best:
        raise ConfigError(
            f"head.top_k: {settings.top_k} answers are chosen from the head.n_best ="
            f" {settings.n_best} best of each text. Raise head.n_best."
        )
    return QuestionHead(settings, reader)
