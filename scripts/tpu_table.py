"""The table of docs/tpu.md, from plans.

usage: tpu_table.py FOLDER, where FOLDER/CONFIG.GENERATION/plan.json was written by
podtune plan configs/CONFIG.yaml --plan.tpu=GENERATION --job_dir=FOLDER/CONFIG.GENERATION
"""

import json
import pathlib
import sys

print("| config | TPU | shapes | compile | memory | at best | largest micro-batch |")
print("| --- " * 7 + "|")
for file in sorted(pathlib.Path(sys.argv[1]).glob("*/plan.json")):
    plan = json.loads(file.read_text(encoding="utf-8"))
    config, generation = file.parent.name.rsplit(".", 1)
    compiled = plan["compiled"]
    training = [shape for shape in compiled["shapes"] if shape["step"] == "train"]
    failed = [shape for shape in compiled["shapes"] if "error" in shape]
    worst = max(training, key=lambda shape: shape.get("hbm_share", 0))
    largest = compiled["largest"]
    cells = [
        config,
        generation,
        f"{len(training)} + {len(compiled['shapes']) - len(training)}",
        f"{len(failed)} do not" if failed else "all",
        f"{worst['hbm_needed_bytes'] / 1e9:.2f} GB, {worst['hbm_share']:.1%}",
        f"{1000 * compiled['estimate']['step_s']:.1f} ms a step",
        f"{largest['rows']:,} x {largest['row_length']}",
    ]
    print("| " + " | ".join(cells) + " |")
