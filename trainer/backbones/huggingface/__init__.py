"""Checkpoints in Hugging Face's format, read into our backbones and written back.

A checkpoint is a folder with config.json and safetensors. Pickled ones (pytorch_model.bin) are
never read: they can run code. What tells the families apart is in trainer/backbones/families/.
"""

from trainer.backbones.huggingface.checkpoint_folder import has_weights
from trainer.backbones.huggingface.config_file import parse_config, read_config, read_eos_id
from trainer.backbones.huggingface.reading import (
    LoadReport,
    load_backbone,
    require_weights_that_fit,
    tensor_names,
)
from trainer.backbones.huggingface.task_heads import TaskHead, read_task_head
from trainer.backbones.huggingface.writing import backbone_tensors, save_huggingface

__all__ = [
    "LoadReport",
    "TaskHead",
    "backbone_tensors",
    "has_weights",
    "load_backbone",
    "parse_config",
    "read_config",
    "read_eos_id",
    "read_task_head",
    "require_weights_that_fit",
    "save_huggingface",
    "tensor_names",
]
