"""`deblurkit run` as its user meets it: where results go, what they are, and what is said about them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.cli import batch as batch_module
from deblurkit.kernels import read_kernel
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

QUICK = ("--kernel-size", "9", "--threads", "1", "--polish", "0", "--restarts", "0")


def pixels(channels: int, seed: int = 0) -> np.ndarray:
    """A blurred cartoon (48, 56, C) in [0, 1] with a little noise."""
    x = cartoon(1, channels, (54, 64), seed)
    y = blur_by_definition(x, curved_kernel((7, 9)))
    y = y + 0.004 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    return y[0].permute(1, 2, 0).clamp(0, 1).numpy()


def save(path: Path, channels: int = 3, seed: int = 0, **how) -> Path:
    values = (pixels(channels, seed) * 255).round().astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values[..., 0] if channels == 1 else values).save(path, **how)
    return path


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def strict(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_results_go_beside_the_input_and_stdout_has_only_the_path(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    done = deblurkit("run", str(source), *QUICK)
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'a.deblurred.png'}\n"
    assert names(tmp_path) == ["a.deblurred.kernel.npy", "a.deblurred.kernel.png", "a.deblurred.png", "a.png"]


def test_the_kernel_is_written_as_numbers_and_as_a_picture(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    deblurkit("run", str(source), *QUICK)
    kernel = np.load(tmp_path / "a.deblurred.kernel.npy")
    assert kernel.dtype == np.float32
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    view = opened(tmp_path / "a.deblurred.kernel.png")
    assert view.mode == "L"
    assert np.asarray(view).max() == 255
    # true convolution, centred: blurring the result with it gives the input back
    sharp = np.asarray(opened(tmp_path / "a.deblurred.png")).astype(np.float32) / 255
    x = torch.from_numpy(sharp).permute(2, 0, 1)[None]
    again = blur_by_definition(x, read_kernel(tmp_path / "a.deblurred.kernel.npy").kernel)
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    inner = torch.from_numpy(pixels(3)).permute(2, 0, 1)[None, :, rows:-rows, columns:-columns]
    turned = blur_by_definition(x, read_kernel(tmp_path / "a.deblurred.kernel.npy", flip=True).kernel)
    error, wrong = (float((one - inner).square().mean().sqrt()) for one in (again, turned))
    assert error < 0.02
    assert wrong > 2 * error


def test_out_is_a_file_or_a_folder(deblurkit, tmp_path):
    a = save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png", seed=1)
    out = tmp_path / "new" / "sharp.tif"
    assert deblurkit("run", str(a), "-o", str(out), *QUICK).out == f"{out}\n"
    assert names(tmp_path / "new") == ["sharp.kernel.npy", "sharp.kernel.png", "sharp.tif"]
    assert opened(out).format == "TIFF"
    out = tmp_path / "folder"
    assert deblurkit("run", str(a), "-o", str(out), *QUICK).out == f"{out / 'a.png'}\n"
    done = deblurkit("run", str(tmp_path / "in"), "-o", str(out / "both.png"), *QUICK)
    assert done.out.splitlines() == [str(out / "both.png" / "a.png"), str(out / "both.png" / "b.png")]
    assert len(names(tmp_path / "in")) == 2


def test_existing_results_are_kept_unless_asked(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    (tmp_path / "a.deblurred.kernel.png").write_bytes(b"mine")
    done = deblurkit("run", str(source), *QUICK)
    assert done.code == 2
    assert done.out == ""
    assert "exists already; add --overwrite" in done.err
    assert names(tmp_path) == ["a.deblurred.kernel.png", "a.png"], "nothing is written where one result cannot be"
    assert deblurkit("run", str(source), "--overwrite", *QUICK).code == 0
    assert (tmp_path / "a.deblurred.kernel.png").read_bytes() != b"mine"


def test_resume_skips_what_is_finished_and_does_the_rest_again(deblurkit, tmp_path):
    for seed, name in enumerate("abc"):
        save(tmp_path / f"{name}.png", seed=seed)
    assert deblurkit("run", str(tmp_path / "a.png"), str(tmp_path / "b.png"), *QUICK).code == 0
    (tmp_path / "b.deblurred.kernel.npy").unlink()  # as if it had been stopped half-way
    finished = (tmp_path / "a.deblurred.png").stat().st_mtime_ns
    done = deblurkit("run", str(tmp_path), "--resume", "--json", *QUICK)
    assert done.code == 0, done.err
    assert "1 of 3 pictures are finished already and are skipped" in done.err
    assert (tmp_path / "a.deblurred.png").stat().st_mtime_ns == finished
    assert (tmp_path / "b.deblurred.kernel.npy").is_file()
    images = strict(done.out)["images"]
    assert [Path(one["input"]).name for one in images] == ["a.png", "b.png", "c.png"]
    assert [one.get("skipped", False) for one in images] == [True, False, False]
    assert images[0]["output"] == str(tmp_path / "a.deblurred.png")
    assert deblurkit("run", str(tmp_path), "--resume", *QUICK).out == ""


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_mode_and_alpha_are_kept(deblurkit, tmp_path, mode):
    values = (pixels(1 if mode[0] == "L" else 3) * 255).round().astype(np.uint8)
    alpha = np.full((*values.shape[:2], 1), 255, np.uint8)
    alpha[:8, :8] = 0
    alpha[20:, 20:] = 200
    stored = np.concatenate([values, alpha], 2) if mode.endswith("A") else values
    Image.fromarray(stored[..., 0] if mode == "L" else stored).save(tmp_path / "a.png")
    assert deblurkit("run", str(tmp_path / "a.png"), *QUICK).code == 0
    result = opened(tmp_path / "a.deblurred.png")
    assert result.mode == mode
    assert result.size == (56, 48)
    if mode.endswith("A"):
        assert np.array_equal(np.asarray(result)[..., -1:], alpha)


def test_sixteen_bits_stay_sixteen_bits(deblurkit, tmp_path):
    values = (pixels(1)[..., 0] * 65535).round().astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert deblurkit("run", str(tmp_path / "a.png"), *QUICK).code == 0
    result = np.asarray(opened(tmp_path / "a.deblurred.png")).astype(np.int64)
    assert result.max() > 255
    assert len(np.unique(result % 256)) > 100, "the low byte is in use"


def test_exif_and_colour_profile_are_kept_and_the_orientation_applied(deblurkit, tmp_path):
    from PIL import ImageCms

    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Harbour", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, quality=98)
    assert deblurkit("run", str(tmp_path / "a.jpg"), *QUICK).code == 0
    result = opened(tmp_path / "a.deblurred.jpg")
    assert result.size == (48, 56), "turned upright"
    assert result.getexif()[0x010E] == "Harbour"
    assert result.getexif().get(0x0112, 1) == 1
    assert result.info["icc_profile"] == profile


def test_colour_gets_one_kernel_and_keeps_its_hues(deblurkit, tmp_path):
    save(tmp_path / "a.png")
    deblurkit("run", str(tmp_path / "a.png"), *QUICK)
    assert np.load(tmp_path / "a.deblurred.kernel.npy").ndim == 2
    before, after = (np.asarray(opened(tmp_path / name)).astype(float) for name in ("a.png", "a.deblurred.png"))
    assert np.abs(before.mean((0, 1)) - after.mean((0, 1))).max() < 4


def test_json_is_one_strict_document_with_everything(deblurkit, tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    done = deblurkit("run", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "gone.png", "--json", *QUICK)
    assert done.code == 2
    images = {Path(one["input"]).name: one for one in strict(done.out)["images"]}
    assert set(images) == {"a.png", "b.png", "gone.png"}
    good = images["a.png"]
    assert good["output"] == str(tmp_path / "a.deblurred.png")
    assert good["kernel"] == str(tmp_path / "a.deblurred.kernel.npy")
    assert good["quality"]["flag"] in ("good", "doubtful", "bad")
    assert isinstance(good["quality"]["reasons"], list)
    assert good["seconds"]["total"] > 0
    assert good["kernel_size"] == list(np.load(good["kernel"]).shape)
    assert good["config"]["run"]["kernel_size"] == 9
    assert images["b.png"]["exit_code"] == 1
    assert "damaged" in images["b.png"]["error"]
    assert images["gone.png"]["exit_code"] == 2
    assert "does not exist" in images["gone.png"]["error"]


def test_json_says_null_where_there_is_no_number(deblurkit, tmp_path, monkeypatch):
    real = batch_module.deblur

    def poisoned(*args, **kwargs):
        result = real(*args, **kwargs)
        result.quality.measures["residual"] = float("nan")
        result.history.append({"scale": 1, "step": 99, "loss": float("inf")})
        return result

    monkeypatch.setattr(batch_module, "deblur", poisoned)
    save(tmp_path / "a.png")
    done = deblurkit("run", str(tmp_path / "a.png"), "--json", "--record", str(tmp_path / "r"), *QUICK)
    assert strict(done.out)["images"][0]["quality"]["measures"]["residual"] is None
    last = (tmp_path / "r" / "a.deblurred" / "history.jsonl").read_text().splitlines()[-1]
    assert strict(last) == {"scale": 1, "step": 99, "loss": None}


def test_warnings_say_what_is_wrong_with_a_result(deblurkit, tmp_path):
    Image.fromarray(np.full((48, 56, 3), 90, np.uint8)).save(tmp_path / "flat.png")
    done = deblurkit("run", str(tmp_path / "flat.png"), *QUICK)
    assert done.code == 0
    assert "bad: the picture is flat" in done.err
    assert (tmp_path / "flat.deblurred.png").is_file(), "a bad result is written all the same"


def test_a_dry_run_shows_the_plan_and_every_origin_and_writes_nothing(deblurkit, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_module, "deblur", lambda *args, **kwargs: pytest.fail("nothing is to be deblurred"))
    save(tmp_path / "in" / "a.png")
    (tmp_path / "my.toml").write_text("[run]\nseed = 7\n")
    before = names(tmp_path)
    args = ("run", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--record", str(tmp_path / "rec"), "--dry-run")
    done = deblurkit(*args, "--config", str(tmp_path / "my.toml"), "--threads", "1")
    assert done.code == 0, done.err
    assert names(tmp_path) == before
    for words in (
        str(tmp_path / "out" / "a.png"),
        "56 x 48 px, 3 channels",
        "1 channel, everything",
        "auto, at most",
        "cpu, 1 threads, float32",
        "GB",
        "about 1 s",
        f"run.seed = 7  ({tmp_path / 'my.toml'})",
        "run.threads = 1  (flag)",
        'run.channels = "luma"  (recipe fast)',
        "run.restarts = 1  (default)",
    ):
        assert words in done.out
    document = strict(deblurkit(*args, "--kernel-size", "11", "--json").out)
    (plan,) = document["plans"]
    assert plan["kernel_window"] == 11
    assert not plan["automatic"]
    assert plan["crop"] == {"top": 0, "left": 0, "height": 48, "width": 56}
    assert plan["memory_bytes"] > 1e8
    assert plan["expected_seconds"] > 0
    assert document["origins"]["run.kernel_size"] == "flag"
    assert names(tmp_path) == before


def test_a_dry_run_of_networks_does_not_look_for_the_kernel_size(deblurkit, tmp_path):
    save(tmp_path / "a.png")
    small = ("--image-prior.channels", "8", "--image-prior.scales", "2", "--image-prior.skip-channels", "4")
    args = ("run", str(tmp_path / "a.png"), "--recipe", "selfdeblur", "--dry-run", "--threads", "1", *small, "--json")
    (plan,) = strict(deblurkit(*args).out)["plans"]
    assert plan["size_recipe"] == "fast"
    assert plan["automatic"]
    assert plan["expected_seconds"] > 1, "five thousand steps take longer than that"
    (wider,) = strict(deblurkit(*args, "--image-prior.channels", "64").out)["plans"]
    assert wider["memory_bytes"] > plan["memory_bytes"] + 1e7
    (fewer,) = strict(deblurkit(*args, "--optimizer.iterations", "10").out)["plans"]
    assert fewer["expected_seconds"] < 0.2 * plan["expected_seconds"]


def test_a_dry_run_names_what_it_cannot_plan(deblurkit, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    done = deblurkit("run", str(tmp_path / "a.png"), "--dry-run", "--json")
    assert done.code == 2
    assert strict(done.out)["failed"][0]["exit_code"] == 2


def test_records_have_folders_of_their_own(deblurkit, tmp_path):
    for folder in ("x", "y"):
        save(tmp_path / folder / "a.png")
    done = deblurkit(
        "run", str(tmp_path / "x"), str(tmp_path / "y"), "--record", str(tmp_path / "rec"), "--time-budget", "9", *QUICK
    )
    assert done.code == 0, done.err
    records = {path.name for path in (tmp_path / "rec").iterdir()}
    assert records == {"a.deblurred", "a.deblurred~2"}
    again = deblurkit("run", str(tmp_path / "x"), "-o", str(tmp_path / "o"), "--record", str(tmp_path / "rec"), *QUICK)
    assert again.code == 0
    done = deblurkit("run", str(tmp_path / "x"), "-o", str(tmp_path / "p"), "--record", str(tmp_path / "rec"), *QUICK)
    assert done.code == 2
    assert "exists already; add --overwrite to replace it, or name another place with --record." in done.err
    assert not (tmp_path / "p" / "a.png").exists(), "found before anything is computed"


def test_a_record_replays_bit_for_bit(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    first = deblurkit(
        *("run", str(source), "-o", str(tmp_path / "1.png"), "--record", str(tmp_path / "rec"), "--json"),
        *("--seed", "3", "--largest-kernel", "11", "--threads", "1"),
    )
    assert first.code == 0, first.err
    (tmp_path / "from.json").write_text(json.dumps(strict(first.out)["images"][0]["config"]))
    for number, config in (("2", tmp_path / "rec" / "1" / "config.json"), ("3", tmp_path / "from.json")):
        done = deblurkit("run", str(source), "-o", str(tmp_path / f"{number}.png"), "--config", str(config))
        assert done.code == 0, done.err
        for kind in ("png", "kernel.npy"):
            assert (tmp_path / f"{number}.{kind}").read_bytes() == (tmp_path / f"1.{kind}").read_bytes()
    environment = json.loads((tmp_path / "rec" / "1" / "environment.json").read_text())
    assert {"deblurkit", "python", "torch", "numpy", "scipy", "platform", "device", "threads"} <= set(environment)
    history = [strict(line) for line in (tmp_path / "rec" / "1" / "history.jsonl").read_text().splitlines()]
    assert history
    assert all({"scale", "step", "loss"} <= set(row) for row in history)


def test_networks_replay_bit_for_bit_too(deblurkit, tmp_path):
    source = save(tmp_path / "a.png", channels=1)
    small = ("--image-prior.channels", "8", "--image-prior.scales", "2", "--image-prior.skip-channels", "4")
    made = deblurkit(
        *("run", str(source), "-o", str(tmp_path / "1.png"), "--record", str(tmp_path / "rec"), "--threads", "1"),
        *("--recipe", "selfdeblur", "--kernel-size", "9", "--optimizer.iterations", "15", "--restarts", "0", *small),
    )
    assert made.code == 0, made.err
    config = str(tmp_path / "rec" / "1" / "config.json")
    again = deblurkit("run", str(source), "-o", str(tmp_path / "2.png"), "--config", config)
    assert again.code == 0, again.err
    assert (tmp_path / "2.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_network_is_fitted_to_a_kernel_that_is_given(deblurkit, tmp_path):
    source = save(tmp_path / "a.png", channels=1)
    np.save(tmp_path / "k.npy", curved_kernel((7, 9))[0, 0].numpy())
    done = deblurkit(
        *("run", str(source), "--image-prior", "dip", "--kernel-prior", "known", "--json", "--threads", "1"),
        *("--kernel-prior.file", str(tmp_path / "k.npy"), "--optimizer.iterations", "12", "--restarts", "0"),
        *("--image-prior.channels", "8", "--image-prior.scales", "2", "--record", str(tmp_path / "rec")),
    )
    assert done.code == 0, done.err
    assert len((tmp_path / "rec" / "a.deblurred" / "history.jsonl").read_text().splitlines()) == 12


def test_the_time_budget_ends_a_run_and_says_so(deblurkit, tmp_path):
    source = save(tmp_path / "a.png", channels=1)
    small = ("--image-prior.channels", "8", "--image-prior.scales", "2", "--image-prior.skip-channels", "4")
    done = deblurkit(
        *("run", str(source), "--recipe", "selfdeblur", "--kernel-size", "9", "--time-budget", "0.5", "--json"),
        *(*small, "--threads", "1"),
    )
    assert done.code == 0
    (image,) = strict(done.out)["images"]
    assert image["stopped"] == "time budget"
    assert image["attempts"] == 1
    assert "the estimation ended early (time budget); the best image so far was written" in done.err
    assert (tmp_path / "a.deblurred.png").is_file()


def test_what_stands_behind_named_parts_is_said(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    args = ("run", str(source), "--dry-run", "--kernel-size", "9", "--image-prior", "total-variation")
    assert deblurkit(*args).err == (
        "The recipe 'custom' stands behind the parts that you named, not 'fast'; it brings kernel prior 'fcn', "
        "data term 'ssim', optimizer 'joint', final 'auto'. Name another by --recipe.\n"
    )
    assert deblurkit(*args, "--recipe", "custom").err == ""
    assert deblurkit(*args[:-2]).err == ""


NO_INFLUENCE = "The data term 'charbonnier' has no influence here: optimizer 'alternating' moves "


def test_a_data_term_that_closed_forms_pass_over_is_said_to_have_no_influence(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    args = ("run", str(source), "--dry-run", "--kernel-size", "9")
    named = (*args, "--data-term", "charbonnier")
    err = deblurkit(*named).err
    assert err.startswith(f"{NO_INFLUENCE}image prior 'l0-gradient' and kernel prior 'convolution' by closed forms")
    assert err.count("\n") == 1
    (tmp_path / "terms.toml").write_text('data_term.name = "charbonnier"\n')
    assert deblurkit(*args, "--config", str(tmp_path / "terms.toml")).err == err
    assert deblurkit(*args).err == ""
    assert NO_INFLUENCE not in deblurkit(*named, "--image-prior", "identity").err
    assert NO_INFLUENCE not in deblurkit(*named, "--keep", "best").err


def test_it_has_none(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    for name in ("mse", "charbonnier"):
        assert deblurkit("run", str(source), "--data-term", name, "-o", str(tmp_path / f"{name}.png"), *QUICK).code == 0
    assert (tmp_path / "mse.png").read_bytes() == (tmp_path / "charbonnier.png").read_bytes()


def test_a_record_names_every_part_and_is_replayed_without_a_word(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    config = strict(deblurkit("run", str(source), "--dry-run", "--json").out)["config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert deblurkit("run", str(source), "--dry-run", "--config", str(tmp_path / "config.json")).err == ""


def test_a_fixed_part_is_none_that_the_data_term_moves(deblurkit, tmp_path):
    source = save(tmp_path / "a.png")
    kernel = tmp_path / "k.npy"
    np.save(kernel, curved_kernel((7, 9))[0, 0].numpy())
    parts = ("--kernel-prior", "known", "--kernel-prior.file", str(kernel), "--image-prior", "hyper-laplacian")
    done = deblurkit("run", str(source), "--dry-run", "--data-term", "charbonnier", *parts)
    assert f"{NO_INFLUENCE}image prior 'hyper-laplacian' by closed forms" in done.err
