"""The examples of one process, step by step."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from deblurkit.kernel_space.datasets import Data, Example
from deblurkit.kernel_space.settings import TrainParams
from deblurkit.kernel_space.world import World


def numbers_of(step: int, batch: int, world: World) -> range:
    """The numbers of one process's examples of a step: all processes together have a contiguous piece."""
    start = (step * world.size + world.rank) * batch
    return range(start, start + batch)


class Feed:
    """The examples of this process, some steps ahead of the training where threads draw them."""

    def __init__(self, data: Data, params: TrainParams, world: World) -> None:
        self.data = data
        self.params = params
        self.world = world
        self.pool = ThreadPoolExecutor(params.workers, "examples") if params.workers else None
        self._ahead: dict[int, list[Future[Example]]] = {}

    def take(self, step: int) -> tuple[Data, list[Example]]:
        """The examples of a step on pictures."""
        if self.pool is None:
            return self.data, [self._draw(number) for number in numbers_of(step, self.params.batch, self.world)]
        for coming in range(step, step + 2 + self.params.workers // self.params.batch):
            if coming not in self._ahead:
                numbers = numbers_of(coming, self.params.batch, self.world)
                self._ahead[coming] = [self.pool.submit(self._draw, number) for number in numbers]
        return self.data, [future.result() for future in self._ahead.pop(step)]

    def _draw(self, number: int) -> Example:
        return self.data.draw(self.params.seed, "training", number)
