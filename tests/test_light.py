"""`--light` refuses TensorFlow: as a reason to leave a file out, then as a mistake of the test."""

import pytest

from tests.light import Light


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow.python.ops", "keras"])
def test_a_file_is_left_out_and_a_test_fails(module):
    light = Light()
    with pytest.raises(pytest.skip.Exception):
        light.find_spec(module)
    light.collecting = False
    with pytest.raises(pytest.fail.Exception, match=r"mark it with @pytest\.mark\.heavy"):
        light.find_spec(module)


def test_other_modules_are_found_as_ever():
    assert Light().find_spec("numpy") is None
    assert Light().find_spec("tensorflow_datasets") is None
