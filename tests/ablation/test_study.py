import pytest

from deblurkit.ablation.study import read_study
from deblurkit.errors import ConfigError

TWO = '[[variant]]\nname = "a"\n[[variant]]\nname = "b"\n'


@pytest.fixture
def study(tmp_path):
    def read(text, reduced=False):
        file = tmp_path / "study.toml"
        file.write_text(text)
        return read_study(file, reduced=reduced)

    return read


def names(found):
    return [one.name for one in found.variants]


def keys_of(variant):
    """Values of a variant's layers by dotted key, the highest last."""
    found = {}
    for layer in variant.stack:
        for section, values in layer.sections.items():
            found |= {f"{section}.{key}": value for key, value in values.items()}
    return found


def test_what_a_file_says_and_what_it_leaves_out(study, tmp_path):
    found = study(
        'summary = "s"\nreproduces = "r"\ncost = "c"\nimages = "x/*.png"\ncases = ["im1*"]\nseeds = [2, 0, 2]\n'
        f'size = "given"\nlayout = "levin"\nbase = "fast"\n{TWO}'
    )
    assert (found.summary, found.reproduces, found.cost, found.layout) == ("s", "r", "c", "levin")
    assert found.images == (tmp_path / "x/*.png",)
    assert (found.cases, found.seeds, found.size, found.task) == (("im1*",), (2, 0), "given", "deblur")
    bare = study(TWO)
    assert (bare.images, bare.cases, bare.seeds, bare.size, bare.layout) == ((), (), (0,), "auto", "auto")
    assert (bare.blur, bare.published, names(bare)) == (None, (), ["a", "b"])


WRONG = {
    f"bases = 1\n{TWO}": r"bases: no such key; did you mean 'base'\? \(.*study.toml\)",
    '[[variant]]\nname = "a"\nbse = "fast"\n': r"bse: no such key; did you mean 'base'\? \(.*variant 'a'\)",
    '[[variant]]\nname = "a"\nreduced.runn.seed = 1\n': r"reduced.runn: no such key; did you mean 'run'",
    f"[grid]\noptimzer.name = ['joint']\n{TWO}": r"grid.optimzer: no such key; did you mean 'optimizer'",
    "[[variant]]\nbase = 'fast'\n": r'variant 1: has no name; add name = "\.\.\." \(',
    '[[variant]]\nname = "a"\n[[variant]]\nname = " "\n': "variant 2: has no name",
    "[[variant]]\nname = 3\n": "variant 1: has no name",
    '[[variant]]\nname = "a"\n[[variant]]\nname = "a"\n': "variant: two variants have one name; name them apart",
    '[variant]\nname = "a"\n': r"variant: must be tables; write \[\[variant\]\]",
    "variant = 3\n": r"variant: must be tables; write \[\[variant\]\]",
    "base = 'fast'\n": r"variant: there is nothing to compare; add a \[\[variant\]\] with a name, or a \[grid\]",
    f"[grid]\noptimizer.iterations = 3\n{TWO}": "grid.optimizer.iterations: must be a list of values to try, not 3",
    f"[grid]\noptimizer.iterations = []\n{TWO}": "grid.optimizer.iterations: must be a list of values to try, not",
    f"[grid]\noptimizer = ['joint']\n{TWO}": r"grid.optimizer: must be a table; write optimizer.KEY = \[\.\.\.\]",
    f"grid = 3\n{TWO}": "grid: must be a table, not 3",
    f'mode = "all"\n{TWO}': "mode: must be crossed or one-at-a-time, not 'all'",
    f"mode = 3\n{TWO}": "mode: must be text, not 3",
    f'size = "givn"\n{TWO}': "size: must be auto or given, not 'givn'; did you mean 'given'",
    f'task = "deblurr"\n{TWO}': "task: must be deblur or reblur or transfer, not 'deblurr'; did you mean 'deblur'",
    f"seeds = [0, -1]\n{TWO}": r"seeds: must be a list of integers from 0 on, not \[0, -1\]",
    f"seeds = [true]\n{TWO}": "seeds: must be a list of integers",
    f'seeds = "0,1"\n{TWO}': "seeds: must be a list of integers",
    f"images = [1]\n{TWO}": r"images: must be a text or a list of texts, not \[1\]",
    f"cases = ['']\n{TWO}": "cases: must be a text or a list of texts",
    f"summary = 1\n{TWO}": "summary: must be text, not 1",
    f'image_prior = "dip"\n{TWO}': "image_prior: must be a table; write image_prior.name = 'dip'",
    '[[variant]]\nname = "a"\nrun = 3\n': "run: must be a table",
    '[[variant]]\nname = "a"\npublished.psnr = "33"\n': "published.psnr: must be a number, not '33'",
    '[[variant]]\nname = "a"\npublished.psnr = true\n': "published.psnr: must be a number, not True",
    '[[variant]]\nname = "a"\npublished = 33\n': "published: must be a table, not 33",
    f"{TWO}[[published]]\nname = 'x'\n": "published 1: has no name or no scores; add both",
    f"{TWO}[[published]]\nscores.psnr = 3\n": "published 1: has no name or no scores; add both",
    f"{TWO}[[published]]\nname = 'x'\nscore.psnr = 3\n": "published 1: score: no such key; did you mean 'scores'",
    f"{TWO}[published]\nname = 'x'\n": r"published: must be tables; write \[\[published\]\]",
    f"[code]\nsteps = 3\n{TWO}": 'code: is for task = "reblur" or "transfer"; name the task',
    f"[blur]\nkernels = 'k'\n{TWO}": 'blur: is for task = "reblur" or "transfer"; name the task',
    f'task = "transfer"\n{TWO}': r'blur: task = "transfer" needs pairs of the same blur; add a \[blur\] table',
    f'task = "transfer"\n[blur]\nside = 100\n{TWO}': "blur.kernels: is missing; name a folder of kernels",
    f'task = "transfer"\n[blur]\nkernel = "k"\n{TWO}': "blur.kernel: no such parameter; did you mean 'kernels'",
    f'task = "transfer"\n[blur]\nkernels = "k"\nside = 3\n{TWO}': "blur.side: must be an integer with x>=64, not 3",
    f'base = "fst"\n{TWO}': "fst",
    f'base = "elsewhere/fst.toml"\n{TWO}': "elsewhere/fst.toml",
    "variant = [\n": "study.toml",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(study, text):
    with pytest.raises(ConfigError, match=WRONG[text]) as told:
        study(text)
    assert "study.toml" in str(told.value)
    assert "\n" not in str(told.value)


REDUCED = {
    TWO: r"reduced: the study has no reduced size; add a \[reduced\] table, or leave --reduced out",
    f"{TWO}[reduced]\nsteps = 3\n": r"reduced\.steps: no such key",
    f"{TWO}[reduced]\nsede = [3]\n": r"reduced\.sede: no such key; did you mean 'seeds'\?",
    f"{TWO}[reduced]\nvariants = ['c']\n": r"reduced.variants: no variant is called 'c'",
    f"{TWO}[reduced]\nvariants = 3\n": "reduced.variants: must be a text or a list of texts, not 3",
    f"reduced = 3\n{TWO}": "reduced: must be a table, not 3",
    f"{TWO}[reduced]\nseeds = 'x'\n": "seeds: must be a list of integers",
}


@pytest.mark.parametrize("text", REDUCED)
def test_what_is_wrong_with_the_reduced_size(study, text):
    with pytest.raises(ConfigError, match=REDUCED[text]):
        study(text, reduced=True)


def test_the_reduced_size_lies_between_the_common_sections_and_a_variant(study):
    text = (
        'base = "fast"\nseeds = [0, 1]\nimages = "many"\n[run]\ncrop = 500\nstarts = 4\n'
        '[[variant]]\nname = "a"\nrun.starts = 3\nreduced.run.restarts = 0\n[[variant]]\nname = "b"\n'
        '[reduced]\nseeds = 5\nimages = "few"\nvariants = "a"\nrun.crop = 100\nrun.starts = 2\n'
    )
    full, small = study(text), study(text, reduced=True)
    assert (full.seeds, small.seeds) == ((0, 1), (5,))
    assert (full.images[0].name, small.images[0].name) == ("many", "few")
    assert (names(full), names(small)) == (["a", "b"], ["a"])
    assert {key: keys_of(full.variants[0])[key] for key in ("run.crop", "run.starts")} == {
        "run.crop": 500,
        "run.starts": 3,
    }
    assert "run.restarts" not in keys_of(full.variants[0])
    values = keys_of(small.variants[0])
    assert (values["run.crop"], values["run.starts"], values["run.restarts"]) == (100, 3, 0)


def test_a_base_is_a_recipe_or_a_path_beside_the_study(study, tmp_path):
    (tmp_path / "mine.toml").write_text('base = "fast"\n[run]\ncrop = 77\n')
    found = study('[[variant]]\nname = "a"\nbase = "mine.toml"\n[[variant]]\nname = "b"\nbase = "fast"\n')
    assert keys_of(found.variants[0])["run.crop"] == 77
    assert keys_of(found.variants[0])["image_prior.name"] == keys_of(found.variants[1])["image_prior.name"]
    assert "run.crop" not in keys_of(found.variants[1])


def test_a_grid_is_crossed_with_every_variant_or_tried_one_at_a_time(study):
    grid = "[grid]\noptimizer.iterations = [1, 2]\nrun.crop = [0, 64, 128]\n"
    crossed = study(grid + TWO)
    assert len(crossed.variants) == 2 * 2 * 3
    assert [tuple(one.point.values()) for one in crossed.variants[:4]] == [(1, 0), (1, 64), (1, 128), (2, 0)]
    assert keys_of(crossed.variants[-1])["run.crop"] == 128
    single = study('mode = "one-at-a-time"\n' + grid + TWO)
    points = [dict(one.point) for one in single.variants if one.name == "a"]
    assert points == [
        {},
        {"optimizer.iterations": 1},
        {"optimizer.iterations": 2},
        {"run.crop": 0},
        {"run.crop": 64},
        {"run.crop": 128},
    ]


def test_a_grid_alone_varies_the_base(study):
    found = study('base = "fast"\n[grid]\nrun.crop = [0, 64]\n')
    assert [(one.name, dict(one.point)) for one in found.variants] == [
        ("base", {"run.crop": 0}),
        ("base", {"run.crop": 64}),
    ]


def test_published_values_belong_to_a_variant_as_it_is(study):
    text = (
        '[[variant]]\nname = "a"\npublished = { psnr = 33, ssim = 0.9 }\n[[published]]\nname = "x"\nscores.psnr = 30\n'
    )
    found = study('mode = "one-at-a-time"\n[grid]\nrun.crop = [64]\n' + text)
    assert [one.published for one in found.variants] == [{"psnr": 33.0, "ssim": 0.9}, {}]
    assert [(one.name, one.scores) for one in found.published] == [("x", {"psnr": 30.0})]


def test_a_study_of_a_kernel_space(study, tmp_path):
    found = study(
        'task = "transfer"\nbase = "kernel-space-cpu"\n[blur]\nkernels = "k"\nnoise = 0.01\n[code]\nsteps = 5\n'
        '[grid]\ncode.corrections = [0, 3]\n[[variant]]\nname = "a"\ncode.by = "ratio"\n'
    )
    assert (found.blur.kernels, found.blur.noise) == (tmp_path / "k", 0.01)
    assert [one.code for one in found.variants] == [
        {"steps": 5, "by": "ratio", "corrections": 0},
        {"steps": 5, "by": "ratio", "corrections": 3},
    ]
