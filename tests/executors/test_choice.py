"""Which executor is taken where nobody names one, and what a descriptor may say."""

import pytest

from deblurkit.core.executor import Executor, death, sentence
from deblurkit.errors import ConfigError, PluginError, RunError
from deblurkit.executors.parcels import carry_out, pack, unpack
from deblurkit.params import Params
from deblurkit.registry import Registry, registry
from deblurkit.specs import ExecutorSpec


def test_one_worker_needs_no_process_and_more_take_the_preferred():
    assert registry().default_executor(1) == "in-process"
    assert registry().default_executor(2) == "local"


def test_a_strangers_executor_is_never_the_default_while_a_built_in_one_suits(read_plugins):
    found = read_plugins("builtin", "good")
    assert found.spec("executor", "elsewhere").preference > found.spec("executor", "spread").preference
    assert (found.default_executor(1), found.default_executor(4)) == ("here", "spread")
    alone = read_plugins("good")
    assert (alone.default_executor(1), alone.default_executor(4)) == ("elsewhere", "elsewhere")


def test_none_at_all_is_told():
    with pytest.raises(PluginError, match="not even the built-in ones are installed"):
        Registry([]).default_executor(1)


def test_a_misspelt_name_is_answered_by_the_nearest():
    with pytest.raises(ConfigError, match=r"no executor 'lokal'; did you mean 'local'\?"):
        registry().find("executor", "lokal")


def test_an_executor_offers_nothing():
    with pytest.raises(ValueError, match="'restore' means nothing here; this kind has no offers"):
        ExecutorSpec(name="cloud", summary="A cloud.", target="m:C", offers={"restore"})


def test_the_abstraction_leaves_the_running_to_others():
    with pytest.raises(NotImplementedError):
        Executor(Params()).run(pow, [1])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("the file\nis gone"), "the file is gone"),
        (KeyError("a"), "unexpected KeyError: 'a'"),
        (ValueError(), "unexpected ValueError"),
        (MemoryError(), "out of memory"),
    ],
)
def test_one_sentence_for_whatever_was_raised(error, text):
    assert sentence(error) == text


def test_one_sentence_for_a_death():
    assert death(1) == "its worker died"
    assert death(3, "killed by signal 9") == "its worker died 3 times (killed by signal 9)"


class Fragile:
    """Can be pickled, and not be read again."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise ValueError("not here")


def fragile(task, slot):
    return Fragile()


def test_what_the_other_side_cannot_read_is_told():
    work, task = pack(fragile, "the work"), pack(1, "the task")
    assert unpack(3, carry_out(work, task, 0)).error == "its result cannot be read: unexpected ValueError: not here"
    broken = pack(Fragile(), "the task")
    assert carry_out(work, broken, 0)[1] == "the task cannot be read by its worker: unexpected ValueError: not here"
    assert carry_out(broken, task, 0)[1] == "the work cannot be read by its worker: unexpected ValueError: not here"
