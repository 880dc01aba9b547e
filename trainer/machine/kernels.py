"""Which matrix products TensorFlow takes on a CPU."""

from __future__ import annotations

import os
import platform
from collections.abc import MutableMapping

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
X86 = ("x86_64", "AMD64")


def prefer_onednn(variables: MutableMapping[str, str] = os.environ) -> None:
    """Has TensorFlow take oneDNN's products; call it before TensorFlow is imported.

    By itself it takes them only where the processor has AVX-512 VNNI or better. With AVX2 they are
    faster too: training on two cores by a tenth.

    Args:
        variables: of the environment; what they already say counts.
    """
    if platform.machine() in X86:
        variables.setdefault(VARIABLE, "1")
