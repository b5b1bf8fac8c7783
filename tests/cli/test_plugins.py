import json
import sys

import pytest


def test_providers_and_what_they_bring(deblurkit, use_plugins):
    use_plugins("builtin", "good")
    done = deblurkit("plugins", "--check")
    assert (done.code, done.err) == (0, "")
    assert "broken" not in done.out
    good = next(line for line in done.out.splitlines() if "deblurkit-good 1.0" in line)
    assert "image prior gentle" in good
    assert "command probe" in good


@pytest.mark.parametrize("check", [False, True])
def test_broken_ones_are_listed_with_cause_and_cure(deblurkit, use_plugins, check):
    use_plugins("builtin", "broken", "typo", "clash", "good")
    done = deblurkit("plugins", *(["--check"] if check else []))
    assert done.code == (3 if check else 0)
    broken = done.out.split("\nbroken\n")[1].splitlines()
    assert len(broken) == 4
    text = "\n".join(broken)
    assert "deblurkit-broken 0.3" in text
    assert "No module named 'a_module_that_nobody_has'" in text
    assert "image prior 'gentle' is already provided by deblurkit-good 1.0" in text
    assert "pip uninstall deblurkit-typo" in text


def test_what_a_plugin_prints_at_import_stays_off_stdout(read_plugins, capfd, monkeypatch):
    monkeypatch.delitem(sys.modules, "broken_import", raising=False)
    read_plugins("broken")
    assert capfd.readouterr() == ("", "loading ...\n")


def test_json(deblurkit, use_plugins):
    use_plugins("builtin", "good", "raises")
    document = json.loads(deblurkit("plugins", "--json").out)
    assert set(document) == {"plugins", "broken", "switched_off"}
    good = next(one for one in document["plugins"] if one["distribution"] == "deblurkit-good")
    assert {"kind": "optimizer", "name": "eager"} in good["provides"]
    (broken,) = document["broken"]
    assert (broken["distribution"], broken["cure"]) == ("deblurkit-raises", "pip uninstall deblurkit-raises")
    assert "ZeroDivisionError" in broken["cause"]


def test_a_plugin_cannot_take_the_name_of_a_builtin_command(deblurkit, use_plugins):
    use_plugins("builtin", "shadow")
    out = deblurkit("plugins").out
    assert "command 'list' is already provided by deblurkit itself" in out
    assert "command list" not in out
    assert "Something else." not in deblurkit("--help").out
    assert "Something else." not in deblurkit("list", "--help").out


def test_tracebacks_on_demand(deblurkit, use_plugins, monkeypatch):
    use_plugins("builtin", "raises")
    assert deblurkit("plugins").err == ""
    monkeypatch.setenv("DEBLURKIT_DEBUG", "1")
    assert "hook_raises.py" in deblurkit("plugins").err


def test_what_is_switched_off_is_said(deblurkit, read_plugins, monkeypatch):
    from deblurkit import registry

    made = read_plugins("builtin", "good", allow=())
    monkeypatch.setattr(registry.Registry, "discover", lambda: made)
    registry.registry.cache_clear()
    out = deblurkit("plugins").out
    registry.registry.cache_clear()
    assert out.split("\nswitched off by DEBLURKIT_PLUGINS\n")[1].split() == ["deblurkit-good", "1.0", "good"]
