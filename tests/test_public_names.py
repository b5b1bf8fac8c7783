"""The names of ``from deblurkit import ...``."""

import subprocess
import sys

import pytest

import deblurkit


@pytest.mark.parametrize("name", deblurkit.__all__)
def test_a_public_name_is_what_its_home_defines(name):
    value = getattr(deblurkit, name)
    assert name in dir(deblurkit)
    if name != "__version__":
        assert value.__module__.startswith("deblurkit.")
        assert value.__name__ == name


def test_no_public_name_hides_a_module():
    """A name that is a module too would mean one or the other, depending on what was imported before."""
    for name in deblurkit.__all__:
        with pytest.raises(ModuleNotFoundError):
            __import__(f"deblurkit.{name}")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'deblurkit' has no attribute 'sharpen'"):
        _ = deblurkit.sharpen


def test_light_names_do_not_import_torch():
    names = "Config, DeblurkitError, Registry, resolve"
    program = f"import sys; from deblurkit import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
