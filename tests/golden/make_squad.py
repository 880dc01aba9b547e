"""Makes squad.json: answers, and how other packages judge them.

    pip install --no-deps --target /tmp/other torchmetrics==1.9.0 lightning_utilities==0.15.3
    transformers==4.57.3 \
        tokenizers==0.22.1 huggingface_hub==0.36.0 lm_eval==0.4.9
    PYTHONPATH=/tmp/other:. python tests/golden/make_squad.py      (torch is needed, too)

v1.1 by torchmetrics and the LongBench task of lm_eval, v2.0 by the script that transformers carried
until version 4, Chinese by the MLQA task of lm_eval.
"""

import functools
import importlib.util
import json
import pathlib
import random
import runpy
import sys
import types

WORDS = [
    "the",
    "The",
    "a",
    "film,",
    "film",
    "(1973)",
    "red",
    "...",
    "U.S.",
    "an",
    "A.",
    "the-film",
    "naïve",
    "１９７３",
    "—",
    "$5",
    "'s",
    "\u00a0red",
    "film\t",
]
EDGES = [
    "",
    " ",
    "the",
    "a an the",
    "...",
    "?!",
    "film",
    " film ",
    "the film.",
    "The Film",
    "…",
    "《》",
    "film\n",
    "anthem",
    "a.b.c",
    "theatre a",
]
CHINESE = [
    "一九七三",
    "年",
    " ",
    "1973",
    "《",
    "》",
    "北京",
    "。",
    "USB",
    "接口",
    "，",
    "the",
    "A",
    "１９",
    "㐀",
    "・",
    "年 ",
]


def cases(count: int, words: list[str], joined: str) -> list[dict]:
    """Answers with one to three gold ones, made of the words or of the edges."""
    rng = random.Random(0)

    def text() -> str:
        return rng.choice(
            [joined.join(rng.choices(words, k=rng.randrange(0, 6))), rng.choice(EDGES)]
        )

    made = []
    for _ in range(count):
        golds = [text() for _ in range(rng.randrange(1, 4))]
        made.append({"answer": rng.choice([text(), rng.choice(golds)]), "golds": golds})
    return made


def v1(case: dict) -> list[float]:
    """Exact match and f1, in 0 to 1. (f1 is not by torchmetrics: it gives 1 where neither text has
    a word, and the script of v1.1 gives 0.)
    """
    from torchmetrics.functional.text import squad

    golds = {"text": case["golds"], "answer_start": [0] * len(case["golds"])}
    found = squad([{"prediction_text": case["answer"], "id": "0"}], [{"answers": golds, "id": "0"}])
    judge = lm_eval("longbench/metrics.py")["qa_f1_score"]
    return [
        float(found["exact_match"]) / 100,
        float(max(judge(case["answer"], gold) for gold in case["golds"])),
    ]


def v2(case: dict) -> list[float]:
    """As get_raw_scores has it, golds that are empty when normalized left out."""
    from transformers.data.metrics import squad_metrics

    golds = [gold for gold in case["golds"] if squad_metrics.normalize_answer(gold)] or [""]
    return [
        float(max(judge(gold, case["answer"]) for gold in golds))
        for judge in (squad_metrics.compute_exact, squad_metrics.compute_f1)
    ]


def chinese(case: dict) -> list[float]:
    """MLQA's."""
    utils = lm_eval("mlqa/utils.py")
    judges = (utils["exact_match_score"], utils["f1_score"])
    return [
        float(utils["metric_max_over_ground_truths"](judge, case["answer"], case["golds"], "zh"))
        for judge in judges
    ]


@functools.cache
def lm_eval(path: str) -> dict:
    """A task of lm_eval by its file, as the package itself wants much more to be installed; what
    these files only name is replaced.
    """
    for name in ("datasets", "jieba", "fuzzywuzzy", "rouge"):
        sys.modules.setdefault(name, types.SimpleNamespace(Dataset=None, fuzz=None, Rouge=None))
    return runpy.run_path(
        f"{importlib.util.find_spec('lm_eval').submodule_search_locations[0]}/tasks/{path}"
    )


def thresholds() -> list[dict]:
    """Scores with ties, and the best f1 that any threshold reaches, in per cent."""
    from transformers.data.metrics import squad_metrics

    rng, made = random.Random(1), []
    for _ in range(40):
        count = rng.randrange(1, 30)
        step = rng.choice([0.5, 1e-6])
        has = [rng.random() < rng.choice([0.0, 0.5, 1.0]) for _ in range(count)]
        f1 = [rng.choice([0.0, 0.3, 1.0]) if answerable else 0.0 for answerable in has]
        margin = [round(rng.gauss(0, 2) / step) * step for _ in range(count)]
        if step == 0.5:
            # theirs may part equal margins, which no threshold can
            margin = [value + index * 1e-3 for index, value in enumerate(margin)]
        names = [str(index) for index in range(count)]
        best, _ = squad_metrics.find_best_thresh(
            dict.fromkeys(names, "an answer"),
            dict(zip(names, f1, strict=True)),
            dict(zip(names, margin, strict=True)),
            dict(zip(names, has, strict=True)),
        )
        made.append({"f1": f1, "has": has, "margin": margin, "best": best})
    return made


if __name__ == "__main__":
    english = [{**case, "v1": v1(case), "v2": v2(case)} for case in cases(1000, WORDS, " ")]
    others = [{**case, "zh": chinese(case)} for case in cases(500, CHINESE, "")]
    golden = json.dumps(
        {"en": english, "zh": others, "thresholds": thresholds()}, ensure_ascii=False
    )
    (pathlib.Path(__file__).parent / "squad.json").write_text(
        golden.replace("}, {", "},\n{") + "\n", encoding="utf-8"
    )
