"""The command: what it prints and writes, and one line for every mistake."""

import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import astr_jax
from astr_jax import cli, configurations
from astr_jax.cli import GROUPS, info, main
from astr_jax.cli import found as found_command
from astr_jax.cli import match as match_command
from astr_jax.cli.files import read_intrinsics
from astr_jax.data import demo
from astr_jax.matching import Matcher
from astr_jax.matching.first_look import Look
from astr_jax.params import Calibration, Params, load_params, save_params

SMALL = ["--resize", "64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, nano_config, nano_variables):
    """Random weights, two photographs, one of them turned by its EXIF tag, and worse files."""
    folder = tmp_path_factory.mktemp("cli")
    params = Params(nano_variables, nano_config, Calibration(threshold=0.0))
    save_params(folder / "micro.safetensors", params, note="of no use")
    texture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
    left = texture.resize((128, 96))
    left.save(folder / "left.png")
    left.resize((64, 48)).save(folder / "right.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    left.save(folder / "turned.png", exif=exif)
    left.rotate(-90, expand=True).save(folder / "upright.png")
    Image.new("L", (1, 1)).save(folder / "pixel.png")
    Image.new("L", (64, 48)).save(folder / "black.png")
    (folder / "words.png").write_text("These are words.")
    (folder / "cut.png").write_bytes((folder / "left.png").read_bytes()[:300])
    whole = (folder / "micro.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    safetensors.numpy.save_file({"x": np.zeros(3)}, folder / "foreign.safetensors")
    return folder


@pytest.fixture
def astr(folder, monkeypatch, capsys):
    """astr("match", ...) runs in the folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


def match(*arguments):
    return ["match", *arguments, "--weights", "micro.safetensors", *SMALL]


def test_match_prints_saves_and_draws(astr, folder):
    code, out, err = astr(
        *match("left.png", "right.jpg", "--out", "m.png", "--save", "m.npz", "--grids", "g.png"),
        *("--attention", "100,50", "--attention-out", "a.png", "--flow", "f.png"),
    )
    assert (code, err) == (0, "")
    expected = astr_jax.match(
        load_params("micro.safetensors"), "left.png", "right.jpg", resize=64
    ).compact()
    assert len(expected) > 0
    assert f"{len(expected)} matches in " in out
    assert f"pair score {expected.pair_score:.2f}" in out
    with np.load("m.npz") as saved:
        fields = set(vars(expected)) - {"valid"}
        assert set(saved) == fields | {"sigma", "pair_score"}
        assert saved["pair_score"] == expected.pair_score
        for name in fields:
            np.testing.assert_array_equal(saved[name], getattr(expected, name), err_msg=name)
    for name in ("m.png", "g.png", "a.png", "f.png"):
        assert f"wrote {name}" in out
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100


def test_exif_orientation_is_respected(astr):
    for image, save in (("turned.png", "turned.npz"), ("upright.png", "upright.npz")):
        assert astr(*match(image, "right.jpg", "--save", save))[0] == 0
    with np.load("turned.npz") as turned, np.load("upright.npz") as upright:
        assert len(upright["confidence"]) > 0
        for name in upright:
            np.testing.assert_array_equal(turned[name], upright[name])


def test_an_image_that_lies_turned_is_matched_as_if_it_stood(astr, folder, monkeypatch):
    def look(self, image0, image1, turn, scale):  # random weights cannot tell
        return Look(float(scale == 1), float(turn == 3))

    monkeypatch.setattr(Matcher, "_look", look)
    with Image.open(folder / "left.png") as left:
        left.transpose(Image.Transpose.ROTATE_90).save(folder / "lying.png")
    for image, *options in (("left.png", "--upright"), ("lying.png", "--no-upright")):
        options += ["--no-polish", "--save", f"{image}.npz"]  # what random weights find is no match
        assert astr(*match("left.png", image, *options))[0] == 0
    with np.load("left.png.npz") as stands, np.load("lying.png.npz") as lies:
        assert len(stands["confidence"]) > 0
        np.testing.assert_allclose(lies["confidence"], stands["confidence"], rtol=1e-3)
        x, y = stands["keypoints1"].T
        there = np.stack([y, 127 - x], axis=-1)  # left.png is 128 pixels wide
        np.testing.assert_allclose(lies["keypoints1"], there, atol=0.01)


@pytest.mark.parametrize("other", ["pixel.png", "black.png"])
def test_nothing_in_common_gives_no_match_and_no_error(astr, other):
    code, out, err = astr(
        *match("left.png", other, "--threshold", "0.2", "--out", "none.png", "--save", "none.npz"),
        *("--grids", "none.png", "--attention", "3,3", "--attention-out", "none.png"),
    )
    said = "astr match: RIGHT is 1 x 1 pixels as it is matched" if other == "pixel.png" else ""
    assert code == 0
    assert err.startswith(said)
    assert err.count("\n") == bool(said)
    assert out.startswith("0 matches")
    with np.load("none.npz") as saved:
        assert saved["keypoints0"].shape == (0, 2)


def test_max_matches_is_passed_on(astr):
    options = ["--max-matches", "3", "--save", "few.npz"]
    assert astr(*match("left.png", "right.jpg"), *options)[1].startswith("3 matches")
    with np.load("few.npz") as saved:
        assert len(saved["confidence"]) == 3


def test_suffixes_in_capitals_are_taken(astr, folder):
    options = ["--save", "CAPITALS.NPZ", "--out", "CAPITALS.PNG"]
    assert astr(*match("left.png", "right.jpg"), *options)[0] == 0
    with np.load("CAPITALS.NPZ") as saved, Image.open("CAPITALS.PNG") as picture:
        assert "keypoints0" in saved
        assert picture.format == "PNG"


def test_a_deep_photograph_is_drawn_as_it_is_matched(astr, folder):
    grey = Image.open("left.png").convert("L")
    Image.fromarray(np.asarray(grey, np.uint16) * 257).save("deep.png")
    grey.save("grey.png")
    for name in ("deep", "grey"):
        options = ["--save", f"{name}.npz", "--out", f"{name}-matches.png"]
        assert astr(*match(f"{name}.png", "right.jpg"), *options)[0] == 0
    with np.load("deep.npz") as deep, np.load("grey.npz") as plain:
        np.testing.assert_array_equal(deep["keypoints1"], plain["keypoints1"])
    with Image.open("deep-matches.png") as deep, Image.open("grey-matches.png") as plain:
        np.testing.assert_array_equal(np.asarray(deep), np.asarray(plain))


@pytest.mark.parametrize(
    ("long", "runs", "words"),
    [
        (1e9, 2, " s (the second call; the first call, with compiling: "),
        (0.0, 1, " s (the first call, with compiling)"),
    ],
)
def test_the_printed_time_says_which_it_is(astr, monkeypatch, long, runs, words):
    calls, once = [], match_command.match_pair
    monkeypatch.setattr(found_command, "LONG", long)
    monkeypatch.setattr(match_command, "match_pair", lambda *a: calls.append(1) or once(*a))
    code, out, _ = astr(*match("left.png", "right.jpg"))
    assert code == 0
    assert len(calls) == runs
    assert words in out


@pytest.mark.parametrize("folder", [None, "/some/folder"])
def test_a_terminal_is_told_of_compiling_and_other_readers_are_not(monkeypatch, capsys, folder):
    monkeypatch.setattr(jax, "config", SimpleNamespace(jax_compilation_cache_dir=folder))
    for terminal in (False, True):
        monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
        monkeypatch.setenv("TERM", "xterm")
        with match_command.compiling():
            pass
        out, err = capsys.readouterr()
        assert out == ""
        assert ("compiling" in err) == terminal
    assert (folder or "nothing is kept") in err


def stopping(*_, **__):
    raise KeyboardInterrupt


def too_large(*_, **__):
    jnp.zeros(2**47, jnp.uint8).block_until_ready()  # more than any machine's address space


def too_large_on_the_host(*_, **__):
    raise MemoryError


@pytest.mark.parametrize("command", [match("left.png", "right.jpg"), ["demo", "left.png"]])
def test_control_c_ends_with_130_and_without_words(astr, monkeypatch, command):
    monkeypatch.setattr(Matcher, "encode", stopping)
    assert astr(*command) == (130, "", "")


@pytest.mark.parametrize("fails", [too_large, too_large_on_the_host])
def test_too_little_memory_is_one_line_with_advice(astr, monkeypatch, fails):
    monkeypatch.setattr(Matcher, "encode", fails)
    code, out, err = astr(*match("left.png", "right.jpg"))
    assert (code, out) == (2, "")
    assert err == "astr match: the memory does not suffice; lower --resize, now 64.\n"
    code, out, err = astr("demo", "left.png")
    assert (code, out) == (2, "")
    assert err.startswith("astr demo: the memory does not suffice; ")
    assert "--resize" not in err


def test_other_failures_of_the_machine_are_not_called_memory(astr, monkeypatch):
    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault")

    monkeypatch.setattr(Matcher, "encode", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a fault"):
        astr(*match("left.png", "right.jpg"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (match("nowhere.png", "right.jpg"), "LEFT: there is no file nowhere.png"),
        (match("left.png", "words.png"), "RIGHT: words.png is not an image"),
        (match("left.png", "cut.png"), "RIGHT: cut.png cannot be read"),
        (match("left.png", "."), "RIGHT: there is no file ."),
        (
            match("left.png", "right.jpg", "--out", "m.docx"),
            "must end in .jpeg, .jpg, .pdf, .png, .svg, .tif, .tiff, .webp; got '.docx'",
        ),
        (match("left.png", "right.jpg", "--out", "no/m.png"), "there is no folder no"),
        (match("left.png", "right.jpg", "--save", "m.txt"), "m.txt must end in .npz; got '.txt'"),
        (match("left.png", "right.jpg", "--attention", "9"), "a point is x,y"),
        (
            match("left.png", "right.jpg", "--attention", "9,9", "--no-upright"),
            "--attention shows RIGHT as it lies",
        ),
        (match("left.png", "right.jpg", "--attention", "128,3"), "is outside LEFT (128 x 96)"),
        (match("left.png", "right.jpg", "--threshold", "2"), "threshold must lie in"),
        (match("left.png", "right.jpg", "--intrinsics", "1,2"), "--intrinsics takes fx,fy,cx,cy"),
        (match("left.png", "right.jpg", "--intrinsics", "0,2,3,4"), "positive focal lengths"),
        (["match", "left.png", "right.jpg", "--weights", "huge"], "huge is neither shipped"),
        (["info", "cut.safetensors"], "cut.safetensors is not a safetensors file, or is damaged"),
        (["info", "foreign.safetensors"], "foreign.safetensors does not hold ASTR weights"),
        (["info", "left.png"], "left.png is not a safetensors file"),
        (["info", "--config", "huge"], "'huge' is no configuration: take one of aspan_megadepth"),
        (["info", "--config", "huge.py"], "no configuration file huge.py"),
        (["info", "left.png", "--all"], "one of WEIGHTS, --config and --all"),
        (["demo", "words.png"], "PHOTO: words.png is not an image"),
        (["demo", "village"], "PHOTO: there is no file village"),
        (["demo", "pixel.png"], "the photograph must be at least 64 x 64"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(astr, arguments, words):
    code, out, err = astr(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"astr {arguments[0]}: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_missing_package_is_named(astr, monkeypatch, folder):
    (folder / "needs.py").write_text("import a_package_that_is_missing\n")
    code, _, err = astr("info", "--config", "needs.py")
    assert code == 2
    assert "'a_package_that_is_missing' is missing" in err


@pytest.mark.parametrize("arguments", [["match"], ["match", "a", "b", "--frobnicate"]])
def test_a_wrong_command_line_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(arguments)
    assert exit_code.value.code == 2
    assert "usage: astr match" in capsys.readouterr().err


COMMANDS = [f"{group} {name}".split() for group, names in GROUPS.items() for name in names]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_with_examples(command, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main([*command, "--help"])
    assert exit_code.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: astr {' '.join(command)} ")
    assert f"examples:\n  astr {' '.join(command)}" in printed


@pytest.mark.parametrize("group", GROUPS)
def test_the_map_names_every_command(group, capsys):
    assert main([*group.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        shown = command[0] == group if group else True
        assert (f"  astr {' '.join(command):<20} " in printed) == shown
    assert main(group.split()) == 2  # without a command it is shown too
    assert capsys.readouterr().out == printed


def test_the_map_and_the_folder_hold_the_same_commands():
    folder = pathlib.Path(cli.__file__).parent
    marks = "\ndef run(", "\nrun = "
    files = {p for p in folder.rglob("*.py") if any(mark in p.read_text() for mark in marks)}
    modules = (tuple(word.replace("-", "_") for word in command) for command in COMMANDS)
    listed = {folder.joinpath(*command).with_suffix(".py") for command in modules}
    assert files == listed


@pytest.mark.parametrize("words", [["mach"], ["eval", "pear"], ["data", "eat", "--out", "x"]])
def test_an_unknown_command_is_named_with_those_there_are(words, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"astr: there is no command 'astr {' '.join(words[:2])}'. There are: ")
    assert err.count("\n") == 1


def test_intrinsics_come_from_numbers_or_files(tmp_path):
    K, L = [[5, 0, 1], [0, 6, 2], [0, 0, 1]], [[7, 0, 1], [0, 8, 2], [0, 0, 1]]
    (tmp_path / "one.json").write_text(json.dumps(K))
    (tmp_path / "two.json").write_text(json.dumps({"K0": K, "K1": L}))
    one, two = str(tmp_path / "one.json"), str(tmp_path / "two.json")
    assert read_intrinsics(None) == (None, None)
    for given, expected in (
        (["5,6,1,2"], (K, K)),
        ([one], (K, K)),
        ([one, "7,8,1,2"], (K, L)),
        ([two], (K, L)),
    ):
        np.testing.assert_array_equal(read_intrinsics(given), expected)
    (tmp_path / "bad.json").write_text('{"K0": [1]}')
    for wrong in ([two, one], [one] * 3, [str(tmp_path / "bad.json")], ["none.json"], ["a,b,c,d"]):
        with pytest.raises((ValueError, FileNotFoundError), match="--intrinsics"):
            read_intrinsics(wrong)


def test_info_describes_weights(astr, monkeypatch):
    monkeypatch.setattr(info, "SIZES", ((64, 96),))
    code, out, err = astr("info", "micro.safetensors")
    assert (code, err) == (0, "")
    params = load_params("micro.safetensors", fold=False)
    count = sum(x.size for x in jax.tree.leaves(params.variables["params"]))
    for words in (f"{count:,}", "GFLOPs at 96 x 64", "threshold = 0.0", "note: of no use"):
        assert words in out


def test_info_lists_every_model_once(astr, monkeypatch):
    monkeypatch.setattr(info, "SIZES", ((64, 96),))
    code, out, err = astr("info", "--all")
    assert (code, err) == (0, "")
    names = [line.split("|")[1].strip() for line in out.splitlines()[2:]]
    both = names, configurations.names()
    listed, known = ([configurations.read(n).model() for n in some] for some in both)
    assert set(listed) == set(known)
    assert len(listed) == len(set(known)) < len(known)
    assert names[0] == "tiny"  # not tiny_short, which has the same model


def test_a_demo_says_how_many_matches_are_right(astr, monkeypatch):
    monkeypatch.setattr(demo, "SIZE", (48, 64))
    code, out, err = astr("demo", "left.png", "--weights", "micro.safetensors")
    assert (code, err) == (0, "")
    for words in ("matches  ", "within 1 px", "within 3 px", "within 5 px", "co-visible cells"):
        assert words in out
    assert pathlib.Path("demo.png").is_file()


@pytest.mark.parametrize("photo", [[], ["town"]])
def test_the_demo_is_right_with_the_weights_that_ship(astr, photo):
    code, out, _ = astr("demo", *photo, "--out", "shipped.png")
    assert code == 0
    found = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if "within" in line)
    assert int(out.split()[1]) >= 200
    assert float(found["within 3 px"].strip("%")) >= 80


def test_a_demo_without_the_portrait_says_what_to_pass(astr, monkeypatch, tmp_path):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    code, out, err = astr("demo")
    assert (code, out) == (2, "")
    assert "pass a photograph of your own, or town" in err
    assert err.count("\n") == 1


def test_the_command_needs_neither_opencv_nor_the_other_extras():
    program = (
        "import sys\n"
        "for name in ('cv2', 'optax', 'orbax', 'poselib', 'matplotlib.pyplot'):\n"
        "    sys.modules[name] = None\n"  # importing any of them fails
        "from astr_jax import configurations\n"
        "from astr_jax.cli import info, main, match\n"
        "main(['--help'])\n"
        "print([configurations.read(name).model().train_side for name in configurations.names()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("[832, ")  # astr_megadepth comes first
