"""Data sets found by looking: tiny ones, written in the layouts of the real ones."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, signal

from deblurkit.datasets import LAYOUTS, find_cases, layout_of
from deblurkit.datasets import case as case_module
from deblurkit.datasets.kohler import KohlerCase
from deblurkit.errors import ImageError, KernelError, UsageError

DATA = Path(os.environ.get("DEBLURKIT_DATA", "../shared/data"))
KERNEL = np.array([[0, 1, 0], [0, 4, 3], [0, 0, 2]], float)


def scene(seed: int, height: int = 40, width: int = 44, channels: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).random((height, width, channels))
    values = ndimage.gaussian_filter(values, (1.0, 1.0, 0))
    return (values - values.min()) / np.ptp(values)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(path)
    return path


def levin(root: Path, images=(1, 2), kernels=(1, 4, 10), fixed: bool = False) -> Path:
    for i in images:
        save(root / "gt" / f"im{i}.png", scene(i))
        for j in kernels:
            save(root / f"im{i}_kernel{j}_img.png", scene(100 * i + j))
    for j in kernels:
        save(root / "gt" / f"kernel{j}.png", KERNEL / KERNEL.max())
        if fixed:
            (root / "kernels_conv").mkdir(exist_ok=True)
            np.save(root / "kernels_conv" / f"k{j}.npy", KERNEL)
    return root


def exact(path: Path, **changes) -> Path:
    generator = np.random.default_rng(0)
    parts = {name: generator.integers(0, 65536, (2, 2, 20, 22), dtype=np.uint16) for name in ("y16", "x16")}
    parts |= {f"f{j}": KERNEL / KERNEL.sum() for j in (1, 2)}
    parts |= changes
    np.savez(path, **{name: value for name, value in parts.items() if value is not None})
    return path


def lai_sources(root: Path) -> Path:
    for name in ("manmade_01", "manmade_02", "text_01"):
        save(root / "sharp" / f"{name}.png", scene(hash_of(name), 50, 46, 3))
    (root / "kernels").mkdir()
    for j in (1, 2):
        np.save(root / "kernels" / f"kernel_{j:02d}.npy", KERNEL)
        save(root / "kernels" / f"kernel_{j:02d}.png", KERNEL[::-1] / KERNEL.max())
    return root


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def test_levin_as_selfdeblur_stores_it(tmp_path):
    cases = find_cases(levin(tmp_path))
    assert layout_of(cases) == "levin"
    assert [case.name for case in cases] == [f"im{i}_kernel{j}" for i in (1, 2) for j in (1, 4, 10)]
    first, fourth = cases[0].load(), cases[1].load()
    assert first.y.shape == (1, 1, 40, 44)
    torch.testing.assert_close(first.truths[0][0, 0], torch.from_numpy(scene(1)[..., 0]).float(), atol=0.002, rtol=0)
    # kernel 1 is stored turned, kernel 4 is not; both were scaled to their peak
    expected = torch.from_numpy(KERNEL / KERNEL.sum()).float()
    torch.testing.assert_close(first.kernel[0, 0], expected.flip(0, 1), atol=0.001, rtol=0)
    torch.testing.assert_close(fourth.kernel[0, 0], expected, atol=0.001, rtol=0)
    assert cases[0].kernel_size() == 3
    assert cases[0].group == ""


def test_levin_with_kernels_put_right_is_preferred(tmp_path):
    for folder in ("a", "b/png"):
        root = levin(tmp_path / folder, images=(1,), kernels=(1,), fixed=folder == "a")
    os.rename(tmp_path / "a" / "kernels_conv", root.parent / "kernels_conv")
    (case,) = find_cases(root)
    expected = torch.from_numpy(KERNEL / KERNEL.sum()).float()
    torch.testing.assert_close(case.kernel()[0, 0], expected)
    assert case.files()[2].name == "k1.npy"


def test_levin_without_kernels_has_none(tmp_path):
    root = levin(tmp_path, images=(1,), kernels=(3,))
    (root / "gt" / "kernel3.png").unlink()
    (case,) = find_cases(root)
    assert case.load().kernel is None
    assert case.kernel_size() is None


def test_a_pattern_and_several_paths(tmp_path):
    root = levin(tmp_path)
    assert len(find_cases(root / "*_kernel4_img.png")) == 2
    picked = [root / "im2_kernel1_img.png", root / "im1_kernel10_img.png"]
    assert [case.name for case in find_cases(picked)] == ["im1_kernel10", "im2_kernel1"]
    assert find_cases(root / "im1_kernel1_img.png")[0].truth.name == "im1.png"


def test_grey_stored_as_colour_is_grey(tmp_path):
    root = levin(tmp_path, images=(1,), kernels=(1,))
    save(root / "gt" / "im1.png", np.repeat(scene(1), 3, axis=2))
    assert find_cases(root)[0].load().truths[0].shape == (1, 1, 40, 44)


def test_exact_levin(tmp_path):
    path = exact(tmp_path / "set.npz")
    cases = find_cases(tmp_path)
    assert layout_of(cases) == "levin-exact"
    assert [case.name for case in cases] == ["im1_kernel1", "im1_kernel2", "im2_kernel1", "im2_kernel2"]
    sample = cases[2].load()
    with np.load(path) as parts:
        assert np.array_equal(sample.y[0, 0].numpy(), (parts["y16"][1, 0] / 65535.0).astype(np.float32))
        assert np.array_equal(sample.truths[0][0, 0].numpy(), (parts["x16"][1, 0] / 65535.0).astype(np.float32))
    torch.testing.assert_close(sample.kernel[0, 0], torch.from_numpy(KERNEL / KERNEL.sum()).float().flip(0, 1))
    assert len({case.fingerprint() for case in cases}) == 4


def test_the_png_set_comes_before_the_archive(tmp_path):
    exact(levin(tmp_path) / "set.npz")
    assert layout_of(find_cases(tmp_path)) == "levin"
    assert layout_of(find_cases(tmp_path, "levin-exact")) == "levin-exact"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y16": None}, "is another archive than Levin's set; the layout 'levin-exact' expects y16 and x16"),
        ({"x16": np.zeros((2, 2, 20, 21), np.uint16)}, "is another archive"),
        ({"y16": np.zeros((2, 2, 20, 22))}, "is another archive"),
        ({"f2": None}, "holds no kernel f2 with odd sides"),
        ({"f1": np.ones((4, 3))}, "holds no kernel f1 with odd sides"),
        ({"f1": np.full((3, 3), np.nan)}, "its kernel f1 is not finite"),
    ],
)
def test_a_wrong_archive(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        find_cases(exact(tmp_path / "set.npz", **changes))


def test_a_damaged_archive(tmp_path):
    path = exact(tmp_path / "set.npz")
    data = path.read_bytes()
    for broken in (data[:-200], data[:400] + b"\0" * 300 + data[700:], b"", b"nothing of the kind"):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match=r"set\.npz: cannot be read, for it is damaged or no \.npz archive"):
            find_cases(path)


def test_another_archive_that_lies_about_is_left_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.npz", "w") as archive:
        archive.writestr("a.npy", b"")
    save(tmp_path / "a_blur.png", scene(1))
    save(tmp_path / "a_sharp.png", scene(2))
    assert layout_of(find_cases(tmp_path)) == "pairs"


def test_lai_is_made_anew(tmp_path):
    cases = find_cases(lai_sources(tmp_path))
    assert layout_of(cases) == "lai"
    assert [(case.name, case.group) for case in cases][::2] == [
        ("manmade_01_kernel_01", "manmade"),
        ("manmade_02_kernel_01", "manmade"),
        ("text_01_kernel_01", "text"),
    ]
    sample = cases[0].load()
    assert sample.y.shape == sample.truths[0].shape == (1, 3, 48, 44)
    sharp = np.asarray(Image.open(tmp_path / "sharp" / "manmade_01.png"), float) / 255
    for c in range(3):
        blurred = signal.convolve2d(sharp[..., c], KERNEL / KERNEL.sum(), mode="valid")
        noise = sample.y[0, c].numpy() - blurred
        inside = (blurred > 0.05) & (blurred < 0.95)
        assert 0.008 < noise[inside].std() < 0.0125
        assert abs(noise[inside].mean()) < 0.001
    torch.testing.assert_close(sample.truths[0][0].numpy(), sharp[1:-1, 1:-1].transpose(2, 0, 1).astype(np.float32))
    levels = sample.y * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert torch.equal(sample.y, cases[0].load().y)
    assert not torch.equal(sample.y, cases[1].load().y)  # the same kernel twice: only the noise differs
    assert cases[0].kernel_size() == 3


def test_the_noise_depends_on_the_name_alone(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        lai_sources(tmp_path / folder)
    (tmp_path / "b" / "sharp" / "manmade_01.png").unlink()
    one = {case.name: case for case in find_cases(tmp_path / "a")}
    for case in find_cases(tmp_path / "b"):
        assert case.fingerprint() == one[case.name].fingerprint()
        assert torch.equal(case.load().y, one[case.name].load().y)


@pytest.mark.parametrize("turned", [False, True])
def test_lai_as_its_authors_publish_it(tmp_path, turned):
    kernel = np.zeros((7, 7))
    kernel[1:4, 2:6] = np.random.default_rng(3).random((3, 4))
    kernel /= kernel.sum()
    sharp = scene(5, 60, 64, 3)
    save(tmp_path / "ground_truth" / "people_03.png", sharp)
    blurred = np.stack([signal.convolve2d(sharp[..., c], kernel, "same", "symm") for c in range(3)], 2)
    save(tmp_path / "uniform" / "people_03_kernel_02.png", blurred)
    save(tmp_path / "ground_truth" / "kernels" / "kernel_02.png",
         (kernel[::-1, ::-1] if turned else kernel) / kernel.max())  # fmt: skip
    (case,) = find_cases(tmp_path)
    assert (case.layout, case.name, case.group) == ("lai", "people_03_kernel_02", "people")
    torch.testing.assert_close(case.kernel()[0, 0].double(), torch.from_numpy(kernel), atol=0.002, rtol=0)
    assert case.kernel_size() == 7
    assert case.load().truths[0].shape == (1, 3, 60, 64)
    assert [one.name for one in find_cases(tmp_path / "uniform")] == [case.name]


def test_kohler(tmp_path):
    for i, k in ((1, 1), (1, 12), (2, 1)):
        save(tmp_path / "BlurryImages" / f"Blurry{i}_{k}.png", scene(i + k, 30, 30, 3))
        for n in (1, 2, 10):
            save(tmp_path / "GroundTruthImg" / f"GroundTruth{i}_{k}_{n}.jpg", scene(n, 30, 30, 3))
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["Blurry1_1", "Blurry1_12", "Blurry2_1"]
    assert layout_of(cases) == "kohler"
    assert [path.name for path in cases[1].views] == [f"GroundTruth1_12_{n}.jpg" for n in (1, 2, 10)]
    sample = cases[0].load()
    assert len(sample.truths) == 3
    assert len(sample.truths[1:]) == 2
    assert sample.truths[-1].shape == (1, 3, 30, 30)
    assert sample.kernel is None
    assert cases[0].kernel_size() is None
    # the truths are also found where only the blurry ones are named
    assert len(find_cases(tmp_path / "BlurryImages" / "Blurry1_*.png")) == 2
    save(tmp_path / "GroundTruthImg" / "GroundTruth1_1_2.jpg", scene(1, 30, 31, 3))
    with pytest.raises(UsageError, match=r"Blurry1_1\.png and .*GroundTruth1_1_2\.jpg: are 30 × 30 and 31 × 30"):
        _ = sample.truths[1]


def test_pairs(tmp_path):
    for name in ("000001", "000002"):
        for kind in ("blur", "sharp"):
            save(tmp_path / "test" / "GOPR1" / kind / f"{name}.png", scene(int(name), 20, 24, 3))
    cases = find_cases(tmp_path)
    assert layout_of(cases) == "pairs"
    assert [case.name for case in cases] == ["test/GOPR1/000001", "test/GOPR1/000002"]
    assert cases[0].load().y.shape == (1, 3, 20, 24)
    picked = find_cases(tmp_path / "test" / "GOPR1" / "blur" / "*2.png")
    assert [case.name for case in picked] == ["000002"]
    listed = tmp_path / "list.csv"
    listed.write_text("test/GOPR1/sharp/000001.png,test/GOPR1/blur/000002.png\n")
    assert find_cases(listed)[0].blurry.name == "000002.png"


def test_side_by_side(tmp_path):
    for name in ("flower", "city"):
        save(tmp_path / f"{name}_blur.png", scene(1))
        save(tmp_path / f"{name}_sharp.png", scene(2))
    assert [case.name for case in find_cases(tmp_path)] == ["city", "flower"]
    assert [case.name for case in find_cases(tmp_path / "*_blur.png")] == ["city", "flower"]
    save(tmp_path / "elsewhere" / "lonely.png", scene(3))
    with pytest.raises(UsageError, match=r"holds no data set of the layout 'pairs'"):
        find_cases(tmp_path / "elsewhere" / "lonely.png", "pairs")


def test_cases_are_picklable_and_comparable(tmp_path):
    levin(tmp_path / "levin")
    exact(tmp_path / "set.npz")
    (tmp_path / "lai").mkdir()
    lai_sources(tmp_path / "lai")
    for source in ("levin", "set.npz", "lai"):
        for case in find_cases(tmp_path / source):
            again = pickle.loads(pickle.dumps(case))
            assert again == case
            assert hash(again) == hash(case)


def test_a_fingerprint_follows_content_not_place(tmp_path):
    one, other = (find_cases(levin(tmp_path / name))[0] for name in ("a", "deeper/b"))
    before = one.fingerprint()
    assert before == other.fingerprint()
    assert all(character in "0123456789abcdef" for character in before)
    for path in one.files():
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        assert one.fingerprint() != before, path
        path.write_bytes(content)
    assert one.fingerprint() == before
    assert find_cases(tmp_path / "a")[1].fingerprint() != before


def test_a_fingerprint_reads_every_file_once(tmp_path, monkeypatch):
    """Of Koehler's set there are 9600: more than a small cache holds, and every row of a table asks for all."""
    cases = find_cases(levin(tmp_path))
    before = [case.fingerprint() for case in cases]
    read = []
    digest = hashlib.file_digest

    def counted(file, kind):
        read.append(file.name)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    many = tmp_path / "many"
    many.mkdir()
    views = [many / f"{number}.png" for number in range(4200)]
    for path in views:
        path.touch()
    crowd = KohlerCase("Blurry1_1", "", save(tmp_path / "y.png", scene(0)), tuple(views))
    for _ in range(2):
        assert crowd.fingerprint() == crowd.fingerprint()
        assert [case.fingerprint() for case in cases] == before
    assert len(read) == len(set(read)) == 4201
    empty = crowd.fingerprint()
    (many / "7.png").write_bytes(b"other")
    assert crowd.fingerprint() != empty
    assert read[4201:] == [str(many / "7.png")]
    hits = case_module._fingerprint.cache_info().hits
    cases[0].fingerprint()
    assert case_module._fingerprint.cache_info().hits == hits + 1


def test_a_fingerprint_follows_the_recipe(tmp_path, monkeypatch):
    case = find_cases(lai_sources(tmp_path))[0]
    before = case.fingerprint()
    monkeypatch.setattr("deblurkit.datasets.lai.NOISE", 0.02)
    assert case.fingerprint() != before
    path = case.files()[0]
    path.unlink()
    with pytest.raises(UsageError, match=r"manmade_01\.png: cannot be read \(No such file"):
        case.fingerprint()


def test_no_source_is_dropped_without_a_word(tmp_path):
    one = levin(tmp_path / "one", images=(1,), kernels=(1,))
    two = levin(tmp_path / "two", images=(2,), kernels=(1,))
    pairs = tmp_path / "pairs"
    for folder, seed in (("blur", 1), ("sharp", 2)):
        save(pairs / folder / "a.png", scene(seed))
    archive = exact(tmp_path / "set.npz")
    for layout in ("auto", "levin"):
        for other in (pairs, archive, pairs / "blur" / "a.png", pairs / "*" / "a.png"):
            for sources in ([one, other], [other, one]):
                with pytest.raises(UsageError) as error:
                    find_cases(sources, layout)
                text = str(error.value)
                assert text.startswith(f"{other}: has no part in the data set of the layout 'levin' (")
                assert text.endswith("leave it out, and where it is another data set, benchmark it by itself.")
    assert [case.name for case in find_cases([one, two])] == ["im1_kernel1", "im2_kernel1"]
    # the truths by themselves, a link to a folder, a folder of links, a remark that is no picture
    assert len(find_cases([one / "im1_kernel1_img.png", one / "gt"])) == 1
    (tmp_path / "link").symlink_to(two)
    assert len(find_cases([one, tmp_path / "link"])) == 2
    links = tmp_path / "links"
    (links / "gt").mkdir(parents=True)
    for path in two.rglob("*.png"):
        (links / path.relative_to(two)).symlink_to(path)
    (one / "README.md").write_text("Of 2009.")
    assert len(find_cases([one, links])) == 2
    assert len(find_cases(sorted(one.iterdir()))) == 1


def test_missing_truths(tmp_path):
    root = levin(tmp_path / "levin")
    (root / "gt" / "im2.png").unlink()
    with pytest.raises(UsageError, match=r"im2_kernel1_img\.png: 3 of 6 pictures have no ground truth.*gt/im2\.png"):
        find_cases(root)
    blurry = save(tmp_path / "kohler" / "Blurry1_1.png", scene(1))
    with pytest.raises(UsageError, match=r"it has no ground truth.*GroundTruth1_1_1\.png here\); add the truths"):
        find_cases(blurry.parent)
    blurry = save(tmp_path / "lai" / "uniform" / "text_01_kernel_01.png", scene(1))
    with pytest.raises(UsageError, match=r"it has no ground truth.*ground_truth/text_01\.png"):
        find_cases(blurry.parent)
    save(tmp_path / "pairs" / "blur" / "a.png", scene(1))
    save(tmp_path / "pairs" / "blur" / "b.png", scene(1))
    save(tmp_path / "pairs" / "sharp" / "a.png", scene(1))
    with pytest.raises(UsageError, match=r"blur/b\.png: 1 of 3 pictures has no partner"):
        find_cases(tmp_path / "pairs")


def test_sizes_that_differ(tmp_path):
    root = levin(tmp_path / "levin", images=(1,), kernels=(1,))
    save(root / "gt" / "im1.png", scene(1, 41))
    with pytest.raises(UsageError, match=r"im1_kernel1_img\.png and .*im1\.png: are 44 × 40 and 44 × 41 pixels"):
        find_cases(root)[0].load()
    save(tmp_path / "pairs" / "a_blur.png", scene(1, 30))
    save(tmp_path / "pairs" / "a_sharp.png", scene(1))
    with pytest.raises(UsageError, match="must agree in size"):
        find_cases(tmp_path / "pairs")[0].load()
    save(tmp_path / "lai" / "sharp" / "text_1.png", scene(1, 5, 5))
    (tmp_path / "lai" / "kernels").mkdir()
    np.save(tmp_path / "lai" / "kernels" / "kernel_1.npy", KERNEL)
    with pytest.raises(UsageError, match="too small to be blurred by the 3 × 3 kernel"):
        find_cases(tmp_path / "lai")[0].load()


def test_damaged_files(tmp_path):
    root = levin(tmp_path, images=(1,), kernels=(1,))
    (case,) = find_cases(root)
    (root / "im1_kernel1_img.png").write_bytes((root / "im1_kernel1_img.png").read_bytes()[:300])
    with pytest.raises(ImageError, match="im1_kernel1_img"):
        case.load()
    save(root / "gt" / "kernel1.png", np.zeros((3, 3)))
    with pytest.raises(KernelError, match="has no value above 0"):
        case.kernel()


def test_nothing_to_find(tmp_path):
    with pytest.raises(UsageError, match="holds no pictures; give the folder of a data set"):
        find_cases(tmp_path)
    with pytest.raises(UsageError, match="nowhere: does not exist"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no file fits this pattern"):
        find_cases(tmp_path / "*.png")
    with pytest.raises(UsageError, match="No data set is named"):
        find_cases([])
    save(tmp_path / "holiday.png", scene(1))
    with pytest.raises(UsageError, match=r"holds no data set of a known layout \(levin: im1_kernel1_img\.png"):
        find_cases(tmp_path)
    with pytest.raises(UsageError, match="holds no data set of the layout 'lai'"):
        find_cases(tmp_path, "lai")
    with pytest.raises(UsageError, match=r"layout: 'levine' is none that deblurkit knows; choose one of auto, levin"):
        find_cases(tmp_path, "levine")


def test_two_files_of_one_name(tmp_path):
    for folder in ("a", "b"):
        levin(tmp_path / folder, images=(1,), kernels=(1,))
    with pytest.raises(UsageError, match="are both im1_kernel1 of the layout 'levin'; name one of their folders"):
        find_cases(tmp_path)


def test_sharp_pictures_of_which_some_have_no_kernels(tmp_path):
    (tmp_path / "a").mkdir()
    lai_sources(tmp_path / "a")
    save(tmp_path / "b" / "sharp" / "text_09.png", scene(1))
    with pytest.raises(UsageError, match=r"text_09\.png: has no kernels beside it.*b/kernels"):
        find_cases(tmp_path, "lai")


def test_a_link_to_a_folder_above_ends(tmp_path):
    root = levin(tmp_path / "levin", images=(1,), kernels=(1,))
    (root / "again").symlink_to(root, target_is_directory=True)
    assert len(find_cases(root)) == 1


def test_layout_of():
    assert LAYOUTS == ("auto", "levin", "lai", "kohler", "levin-exact", "pairs")
    with pytest.raises(UsageError, match="no cases"):
        layout_of([])


@pytest.mark.parametrize(
    ("folder", "layout", "count"),
    [("levin", "levin", 32), ("levin", "levin-exact", 32), ("lai", "lai", 60), ("pairs/gopro_official", "pairs", 2)],
)
def test_the_real_sets(folder, layout, count):
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is absent; set DEBLURKIT_DATA")
    cases = find_cases(DATA / folder, layout)
    assert len(cases) == count
    sample = cases[0].load()
    assert sample.y.shape == sample.truths[0].shape


def test_the_real_kernels_agree(tmp_path):
    """SelfDeblur's kernel pictures, turned as the layout says, against kernels put right and those of the archive."""
    if not (DATA / "levin" / "png").is_dir():
        pytest.skip(f"{DATA / 'levin'} is absent; set DEBLURKIT_DATA")
    (tmp_path / "png").symlink_to((DATA / "levin" / "png").resolve(), target_is_directory=True)
    pictures = {case.name: case for case in find_cases(DATA / "levin" / "png" / "im1_*.png")}
    (root := tmp_path / "copy").mkdir()
    (root / "gt").symlink_to((DATA / "levin" / "png" / "gt").resolve(), target_is_directory=True)
    for path in (DATA / "levin" / "png").glob("im1_*.png"):
        (root / path.name).symlink_to(path.resolve())
    exact_ones = {case.name: case for case in find_cases(DATA / "levin", "levin-exact")}
    for case in find_cases([root / path.name for path in root.glob("im1_*.png")]):
        assert case.files()[2].suffix == ".png"
        for other in (pictures[case.name], exact_ones[case.name]):
            assert float((case.kernel() - other.kernel()).abs().sum()) < 0.02
            assert float((case.kernel() - other.kernel().flip(-2, -1)).abs().sum()) > 0.2
