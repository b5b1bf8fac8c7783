"""The executors that start their own workers, under the contract; Ray's has a file of its own."""

from deblurkit.registry import registry
from deblurkit.testing import ExecutorContract


class TestInProcess(ExecutorContract):
    spec = registry().spec("executor", "in-process")


class TestLocal(ExecutorContract):
    spec = registry().spec("executor", "local")


def test_every_executor_is_under_the_contract():
    assert [entry.spec.name for entry in registry().entries("executor") if entry.provider.built_in] == [
        *("in-process", "local", "ray")
    ]
