import json

import numpy as np
import pytest

from deblurkit.cells.carry_out import Outcome, failed
from deblurkit.cells.cell import blurry_cell, run_cell
from deblurkit.cells.store import Store
from deblurkit.errors import UsageError
from deblurkit.registry import registry


@pytest.fixture
def cell(scene, config):
    return run_cell(scene(), config, registry(), given_size=False)


def outcome(**more):
    image, kernel = np.full((1, 8, 9), 0.5, np.float32), np.full((3, 3), 1 / 9, np.float32)
    return Outcome({"status": "ok", "scores": {"psnr-aligned": 31.5}, **more}, image, kernel)


def test_what_is_written_is_read(store, cell):
    assert store.read(cell) is None
    written = store.write(cell, outcome(seconds=1.5))
    read = store.read(cell)
    assert read == json.loads(json.dumps(written))
    assert read["scores"] == {"psnr-aligned": 31.5}
    assert read["config"]["run"]["largest_kernel"] == 7
    assert store.image(cell).shape == (8, 9)
    assert store.image(cell)[0, 0] == 128
    assert store.kernel(cell).sum() == pytest.approx(1.0)
    assert store.damaged == []


def test_colour_comes_back_as_rows_columns_channels(store, cell):
    planes = np.stack([np.full((8, 9), value, np.float32) for value in (0.0, 0.2, 1.0)])
    store.write(cell, Outcome({"status": "ok", "scores": {}}, planes))
    assert store.image(cell).shape == (8, 9, 3)
    assert store.image(cell)[0, 0].tolist() == [0, 51, 255]
    assert store.kernel(cell) is None


def test_a_failed_cell_is_kept_with_its_reason(store, cell):
    store.write(cell, failed("no room"))
    assert store.read(cell)["error"] == "no room"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 0'),
        lambda text: text.replace('"psnr-aligned": 31.5', '"psnr-aligned": "31.5"'),
        lambda text: text.replace('"psnr-aligned": 31.5', '"psnr-aligned": null'),
        lambda text: text.replace('"status": "ok"', '"status": "fine"'),
        lambda text: text.replace('"status": "ok", ', "").replace('"status": "ok",', ""),
        lambda text: text.replace('"scores"', '"scored"'),
        lambda text: "\x00\xff",
        lambda text: text.replace('"psnr-aligned": 31.5', '"psnr-aligned": NaN'),
        lambda text: text.replace('"psnr-aligned": 31.5', '"psnr-aligned": Infinity'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "seconds": "x"'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "memory_bytes": null'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "history": [{"step": 1, "loss": "x"}]'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "curve": [3]'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "quality": "good"'),
        lambda text: text.replace('"status": "ok"', '"status": "ok", "kernel_size": [5, 5]'),
    ],
)
def test_a_damaged_document_is_told_and_done_anew(store, cell, spoil):
    store.write(cell, outcome())
    path = store.folder / "cells" / cell.key / "cell.json"
    path.write_text(spoil(path.read_text()), encoding="latin-1")
    assert store.read(cell) is None
    assert len(store.damaged) == 1
    assert str(path) in store.damaged[0]
    assert "carried out anew" in store.damaged[0]
    store.write(cell, outcome())
    assert store.read(cell) is not None


def test_the_document_of_another_cell_is_not_believed(store, cell, scene):
    store.write(cell, outcome())
    other = blurry_cell(scene(2))
    (store.folder / "cells" / cell.key).rename(store.folder / "cells" / other.key)
    assert store.read(other) is None
    assert "another cell" in store.damaged[0]


def test_a_folder_is_claimed_by_one_process_at_a_time(store, cell):
    store.check()
    other = Store(store.folder).claimed()
    with store.claimed(), pytest.raises(UsageError, match="another process is at work"), other:
        pytest.fail("it is claimed")
    with Store(store.folder).claimed():
        pass


def test_a_damaged_picture_is_no_picture(store, cell):
    store.write(cell, outcome())
    (store.folder / "cells" / cell.key / "image.png").write_bytes(b"\x89PNG nothing")
    (store.folder / "cells" / cell.key / "kernel.npy").write_bytes(b"")
    assert store.image(cell) is None
    assert store.kernel(cell) is None


def test_a_folder_that_cannot_be_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(UsageError, match="is a file, not a run folder"):
        Store(path).check()
    with pytest.raises(UsageError, match="cannot be written"):
        Store(path / "below").check()
    Store(tmp_path / "new" / "folder").check()
