import numpy as np
import pytest

from deblurkit.cells import engine
from deblurkit.cells.carry_out import Outcome, failed
from deblurkit.cells.cell import blurry_cell, run_cell
from deblurkit.cells.engine import carry_out_all
from deblurkit.core.executor import Executor, Finished
from deblurkit.params import Params
from deblurkit.registry import registry


class Backwards(Executor):
    """Does the tasks from the last to the first, and may stop or lose some."""

    def __init__(self, *, stop_after=99, lose=()):
        super().__init__(Params())
        self.stop_after, self.lose, self.closed, self.given = stop_after, lose, False, []

    def run(self, work, tasks):
        try:
            for index in reversed(range(len(tasks))):
                if len(self.given) == self.stop_after:
                    raise KeyboardInterrupt
                self.given.append(tasks[index].case.name)
                if tasks[index].case.name in self.lose:
                    yield Finished(index, error="its worker died 3 times")
                else:
                    yield Finished(index, work(tasks[index], 0))
        finally:
            self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    def carry_out(cell, slot):
        if cell.case.name == "scene4":
            return failed("scene4: is too dark")
        return Outcome({"status": "ok", "scores": {"psnr-aligned": 20.0 + cell.case.number}}, np.zeros((1, 2, 2)))

    monkeypatch.setattr(engine, "carry_out", carry_out)


def silent(cell, document, tally):
    pass


def values(results, cells):
    return {cell.case.name: results.of(cell).get("scores", {}).get("psnr-aligned") for cell in cells}


def test_every_cell_once_and_equal_cells_together(scene, store):
    cells = [blurry_cell(scene(i)) for i in (1, 2, 3)] + [blurry_cell(scene(2))]
    executor = Backwards()
    results = carry_out_all(cells, store, executor, silent)
    assert executor.given == ["scene3", "scene2", "scene1"]
    assert values(results, cells) == {"scene1": 21.0, "scene2": 22.0, "scene3": 23.0}


def test_what_is_finished_is_not_done_again(scene, store):
    cells = [blurry_cell(scene(i)) for i in (1, 2, 3)]
    carry_out_all(cells[:2], store, Backwards(), silent)
    executor, tallies = Backwards(), []
    results = carry_out_all(
        cells, store, executor, lambda cell, document, tally: tallies.append((tally.found, tally.done))
    )
    assert executor.given == ["scene3"]
    assert tallies == [(1, 1), (2, 2), (2, 3)]
    assert None not in values(results, cells).values()


def test_an_interruption_keeps_what_was_finished_and_stops_the_workers(scene, store):
    cells = [blurry_cell(scene(i)) for i in (1, 2, 3)]
    executor = Backwards(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        carry_out_all(cells, store, executor, silent)
    assert executor.closed
    rest = Backwards()
    carry_out_all(cells, store, rest, silent)
    assert rest.given == ["scene1"]


def test_a_listener_that_raises_stops_the_workers_too(scene, store):
    executor = Backwards()

    def told(cell, document, tally):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        carry_out_all([blurry_cell(scene(i)) for i in (1, 2)], store, executor, told)
    assert executor.closed
    assert executor.given == ["scene2"]


def test_a_failure_costs_only_its_cell_and_is_tried_again_next_time(scene, store):
    cells = [blurry_cell(scene(i)) for i in (1, 4, 5)]
    seen = []
    results = carry_out_all(
        cells, store, Backwards(lose=("scene5",)), lambda cell, document, tally: seen.append(tally.failed)
    )
    assert seen == [1, 2, 2]
    assert results.of(cells[1])["error"] == "scene4: is too dark"
    assert results.of(cells[2])["error"] == "its worker died 3 times"
    assert results.of(cells[0])["status"] == "ok"
    again = Backwards()
    results = carry_out_all(cells, store, again, silent)
    assert again.given == ["scene5", "scene4"]
    assert results.of(cells[2])["status"] == "ok"


def test_cells_without_a_key_fail_alone(scene, store, config, monkeypatch):
    broken = run_cell(scene(7), config, registry(), given_size=False)
    object.__setattr__(broken, "problem", "kernel.png: is damaged.")
    cells = [blurry_cell(scene(13)), broken, blurry_cell(scene(1))]
    heard = []
    results = carry_out_all(
        cells,
        store,
        Backwards(),
        lambda cell, document, tally: heard.append((document["status"], tally.done, tally.total)),
    )
    assert heard == [("failed", 1, 3), ("failed", 2, 3), ("ok", 3, 3)]
    assert results.of(cells[0])["error"].startswith("scene 13: cannot be read")
    assert results.of(cells[1])["error"] == "kernel.png: is damaged."
    assert results.of(cells[2])["status"] == "ok"


def test_a_damaged_cell_is_done_anew_and_no_other(scene, store):
    cells = [blurry_cell(scene(i)) for i in (1, 2)]
    carry_out_all(cells, store, Backwards(), silent)
    (store.folder / "cells" / cells[0].key / "cell.json").write_text("{")
    executor = Backwards()
    results = carry_out_all(cells, store, executor, silent)
    assert executor.given == ["scene1"]
    assert len(store.damaged) == 1
    assert results.of(cells[0])["scores"] == {"psnr-aligned": 21.0}
