"""What tokens look at, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.report.figures import drawing, shortened, svg_of
from trainer.report.page import Block, Figure, Folded, Paragraph, Section, Table
from trainer.report.say import Say

if TYPE_CHECKING:  # which imports TensorFlow
    from trainer.report.explain.texts import Attention

MOST_DRAWN = 48  # tokens: more cannot be read
DIGITS = 4
INCH_A_TOKEN = 0.19


def attention_section(found: Attention, say: Say) -> Section:
    """The section: the rollout, and a map a layer.

    Args:
        found: of a text.
        say: see `speaker`.
    """
    title = say("Attention", "注意力")
    rows = [(token, float(share)) for token, share in zip(found.tokens, found.rollout, strict=True)]
    columns = [say("token", "词元"), say("rollout", "rollout")]
    blocks: list[Block] = [
        Paragraph(
            say(
                "What a token looks at is not what it is decided by: the attributions above say"
                " that. The rollout says how much of each token reaches the one that is read.",
                "注意力不等于依据：依据见上面的归因。"
                "rollout 表示每个词元有多少传到了被读取的位置。",
            )
        ),
        Folded(
            say("Attention rollout", "注意力 rollout"),
            [Table(say("Attention rollout", "注意力 rollout"), columns, rows)],
        ),
    ]
    if len(found.tokens) <= MOST_DRAWN:
        maps = [_map(found, layer, say) for layer in range(len(found.layers))]
        blocks.append(Folded(say("A map of each layer", "各层的注意力图"), maps))
    facts = {
        "tokens": list(found.tokens),
        "rollout": np.round(found.rollout, DIGITS).tolist(),
        "layers": [np.round(layer, DIGITS).tolist() for layer in found.layers],
    }
    return Section("attention", title, facts, blocks)


def _map(found: Attention, layer: int, say: Say) -> Figure:
    count = len(found.tokens)
    with drawing(height=max(2.8, INCH_A_TOKEN * count + 1.2)) as (figures, (axes,)):
        axes.imshow(found.layers[layer], cmap="Blues", vmin=0, aspect="auto")
        names = list(map(shortened, found.tokens))
        axes.set_xticks(range(count), names, rotation=90, fontsize=7)
        axes.set_yticks(range(count), names, fontsize=7)
        svg = svg_of(figures)
    caption = say(
        f"Layer {layer + 1}, the mean over its heads: what the token of a row looks at.",
        f"第 {layer + 1} 层，各注意力头的平均：每行的词元看向哪里。",
    )
    return Figure(svg, caption)
