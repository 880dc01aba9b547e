"""What is imported when: TensorFlow without what no run needs."""

import importlib
import subprocess
import sys

import pytest

from trainer.lazy import hidden

SCRIPT = """
import sys
from trainer.machine import start
start.start_tensorflow()
import keras
import tensorflow as tf
found = {name.partition(".")[0] for name in sys.modules}
print(sorted(found & set(start.NOT_NEEDED)))
import sklearn.metrics
print(sklearn.metrics.f1_score([0, 1], [0, 1]))
model = keras.Sequential([keras.layers.Dense(1)])
model.compile(loss="mse")
print(model.fit(tf.ones([4, 2]), tf.ones([4, 1]), verbose=0).epoch)
"""


@pytest.mark.heavy
def test_tensorflow_comes_without_what_no_run_needs_which_can_be_had_later():
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines() == ["[]", "1.0", "[0]"]


def test_a_hidden_package_cannot_be_imported_until_it_is_shown(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with hidden(["this", "sys"]):
        with pytest.raises(ImportError):
            importlib.import_module("this")
        assert importlib.import_module("sys") is sys  # it was there before
    assert importlib.util.find_spec("this") is not None
    assert "this" not in sys.modules
