"""What `ray` makes of Ray's errors, without a cluster."""

import pytest

from deblurkit.errors import RunError
from deblurkit.executors.ray import _Cluster

exceptions = pytest.importorskip("ray.exceptions", reason="Ray is not installed; it is the extra 'ray'")


class Faulty:
    """Ray, whose results are one error."""

    exceptions = exceptions

    def __init__(self, error):
        self.error = error

    @staticmethod
    def cluster_resources():
        return {"CPU": 2.0}

    @staticmethod
    def remote(**_):
        return lambda function: function

    def get(self, reference):
        raise self.error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (exceptions.LocalRayletDiedError(), "its machine was lost"),
        (exceptions.NodeDiedError("The node died."), "its machine was lost"),
        (exceptions.OutOfMemoryError("Too much."), "out of memory"),
        (exceptions.WorkerCrashedError(), ""),
    ],
)
def test_the_death_of_a_worker_is_no_end_of_the_cluster(error, cause):
    assert _Cluster(Faulty(error), 1).take("reference") == (None, cause)


@pytest.mark.parametrize("error", [exceptions.RaySystemError("It broke."), ConnectionError("It broke.")])
def test_other_errors_are(error):
    with pytest.raises(RunError, match=r"the Ray cluster was lost: .*It broke\."):
        _Cluster(Faulty(error), 1).take("reference")
