"""The objective: what the parts say, and that nothing of it is lost."""

import pytest
import torch

from deblurkit.core import DataTerm
from deblurkit.params import Params
from deblurkit.testing.data_term import estimation


class Says(DataTerm):
    """A data term whose parts are given."""

    def __init__(self, *names):
        super().__init__(Params())
        self.names = names

    def terms(self, problem, x, step):
        return {name: torch.full((2,), 0.5) for name in self.names}


def test_the_loss_is_the_sum_of_all_parts_over_the_batch():
    problem = estimation(Says("data", "scales"), batch=2, scales=1)
    loss, terms = problem.loss(problem.image(), 0)
    assert {name: float(term.detach()) for name, term in terms.items()} == {
        "data": 1.0, "scales": 1.0, "image": 0.0, "kernel": 0.0
    }  # fmt: skip
    assert float(loss.detach()) == 2.0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("data", "kernel"),
            "term Says returns 'kernel', which is the name of a prior's energy and would be lost",
        ),
        (("data", "image"), "returns 'image', which is the name"),
        (("scales",), "returns 'scales', and must return 'data' among its parts"),
        ((), "returns nothing, and must return 'data'"),
    ],
)
def test_parts_that_would_be_lost_are_refused(names, words):
    problem = estimation(Says(*names), batch=2, scales=1)
    with pytest.raises(ValueError, match=words):
        problem.loss(problem.image(), 0)
