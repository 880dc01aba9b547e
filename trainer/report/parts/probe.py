"""What each layer knows of the labels."""

from __future__ import annotations

import numpy as np

from trainer.files.json_file import JsonObject
from trainer.report.figures import COLOURS, drawing, svg_of
from trainer.report.page import Figure, Paragraph, Section
from trainer.report.say import Say


def probe_section(found: JsonObject | None, say: Say) -> Section | None:
    """The section; None where nothing was probed.

    Args:
        found: of probe.json.
        say: see `speaker`.
    """
    if not found:
        return None
    scores, metric = found["layers"], found["metric"]
    best = int(np.argmax(scores))
    is_last = best == len(scores) - 1
    layer = say(f"layer {best}", f"第 {best} 层") if best else say("the embeddings", "词嵌入层")
    text = say(
        f"A linear model that sees the states of one layer alone, learnt on {found['train']:,}"
        f" examples of train, reaches an {metric} of {scores[best]:.4f} with {layer}"
        f"{', the last' if is_last else f', and of {scores[-1]:.4f} with the last'}"
        f" ({found['judged']:,} examples).",
        f"只看某一层状态的线性模型（用训练集的 {found['train']:,} 个样本训练），"
        f"用{layer}时 {metric} 为 {scores[best]:.4f}"
        f"{'（最后一层）' if is_last else f'，用最后一层时为 {scores[-1]:.4f}'}"
        f"（{found['judged']:,} 个样本）。",
    )
    with drawing() as (figures, (axes,)):
        axes.plot(range(len(scores)), scores, marker="o", color=COLOURS[0])
        axes.set_xlabel(say("layer (0: embeddings)", "层（0 为词嵌入）"))
        axes.set_ylabel(metric)
        axes.set_xticks(range(0, len(scores), max(1, len(scores) // 8)))
        svg = svg_of(figures)
    caption = say(
        "How well the labels can be read off each layer of the trained model.",
        "训练后的模型各层中，标签能被线性读出的程度。",
    )
    title = say("What each layer knows", "各层知道什么")
    return Section("probe", title, found, [Paragraph(text), Figure(svg, caption)])
