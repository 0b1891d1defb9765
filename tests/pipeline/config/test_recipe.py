"""Recipes: what is accepted, and how mistakes are reported."""

import json
import subprocess
import sys

import pytest
from pydantic import Field, model_validator

from pipeline.config.recipe import Recipe, load
from pipeline.config.yaml_config import EXAMPLE, read_yaml
from pipeline.training.recipe import TrainingRecipe
from pipeline.training.vocoder import VocoderRecipe
from schemas.errors import SetupError
from stages.stage import Config


class ShelfBox(Config):
    width: int = 1


class Shelf(Config):
    boxes: tuple[ShelfBox, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> "Shelf":
        if sum(box.width for box in self.boxes) > 9:
            raise ValueError("the boxes are too wide")
        return self


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_name_is_enough_and_paths_are_relative_to_the_recipe(written):
    recipe = load(written("name: calls\ninputs: recordings\noutput: out\n"))
    assert recipe.inputs[0].endswith("/recordings")
    assert recipe.inputs[0].startswith(str(written("name: calls\n").parent))
    assert recipe.output.startswith("file://")


def test_inputs_and_output_of_the_command_replace_those_of_the_recipe(written):
    recipe = load(written("name: a\ninputs: [x]\n"), inputs=["/data/calls"], output="s3://bucket/sets")
    assert recipe.inputs == ("/data/calls",)
    assert recipe.output == "s3://bucket/sets"


def test_settings_reach_into_sections_and_keep_their_type(written):
    settings = ["select.dnsmos_overall_min=2.5", "compose.families=[asr]", "diarize.max_speakers=3"]
    recipe = load(written("name: a\n"), settings)
    assert recipe.select.dnsmos_overall_min == 2.5
    assert recipe.compose.families == ("asr",)
    assert recipe.diarize.max_speakers == 3


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("name: a\nselct: {}\n", [], "recipe.yaml:2: unknown key `selct`; did you mean `select`?"),
        (
            "name: a\nselect:\n  dnsmos_overal_min: 2\n",
            [],
            "recipe.yaml:3: unknown key `select.dnsmos_overal_min`; did you mean `dnsmos_overall_min`?",
        ),
        (
            "name: a\nselect:\n  words_min: many\n",
            [],
            "recipe.yaml:3: `select.words_min`: input should be a valid",
        ),
        ("inputs: [x]\n", [], "`name` is missing"),
        ("name: A B\n", [], "recipe.yaml:1: `name`: string should match"),
        ("name: a\nname: b\n", [], "recipe.yaml:2: `name` is set twice"),
        ("name: [a\n", [], "recipe.yaml:1: `[` is not closed"),
        ("name: a\ninputs: [x\nselect: {}\n", [], "recipe.yaml:2: `[` is not closed"),
        ('name: "a\n', [], 'recipe.yaml:1: `"` is not closed'),
        ("name: a\noutput: \x01\n", [], "recipe.yaml:2: the character U+0001 is not allowed here"),
        ("name: a\ninputs: &a [*a]\n", [], "recipe.yaml:2: an alias (`*name`) refers to the value"),
        ("name: a\n? [b]\n: c\n", [], "recipe.yaml:2: found unhashable key"),
        ("name: a\nlimit_hours: !!int many\n", [], "recipe.yaml:2: invalid literal for int"),
        ("name: a\ninputs: " + "[" * 2000, [], "nested too deeply"),
        ("- a\n", [], "a recipe is a mapping"),
        ("", [], "a recipe is a mapping"),
        ("name: a\n", ["select.words_min=x"], "--set select.words_min=x: `select.words_min`"),
        ("name: a\n", ["words"], "--set words: write it as key=value or section.key=value"),
        ("name: a\n", ["select.wrods_min=1"], "did you mean `words_min`?"),
        (
            "name: a\nquality: {ears: {sound: [{modl: x}]}}\n",
            [],
            "unknown key `quality.ears.sound.0.modl`; did you mean `model`?",
        ),
        ("name: a\n", ["select.dnsmos_min=2"], "did you mean `dnsmos_overall_min`?"),
        ("name: a\n", ["inputs=&a [*a]"], "--set inputs=&a [*a]: an alias (`*name`) refers to"),
        ("name: a\n", ["inputs=[x"], "--set inputs=[x: `[` is not closed"),
        ("name: a\n", ["name=\x02"], "the character U+0002 is not allowed"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_a_suggestion(written, text, settings, message):
    with pytest.raises(SetupError) as error:
        load(written(text), settings)
    assert message in str(error.value)


def test_a_missing_recipe_is_reported(tmp_path):
    with pytest.raises(SetupError, match="can't read recipe"):
        load(tmp_path / "none.yaml")


def test_paths_and_resources_do_not_determine_the_outputs(written):
    path = written("name: a\ninputs: [x]\n")
    other = load(path, ["resources.decode.cpus=3"], inputs=["/elsewhere"], output="/out")
    assert load(path).content() == other.content()
    assert load(path).content() != load(path, ["select.words_min=3"]).content()


def test_a_list_may_be_a_file_beside_the_recipe(written, tmp_path):
    (tmp_path / "deny.txt").write_text("calls/1.wav\n\n calls/2.wav \n")
    recipe = load(written("name: a\nselect: {deny: deny.txt, allow: [calls/3.wav]}\n"))
    assert recipe.select.deny == ("calls/1.wav", "calls/2.wav")
    assert recipe.select.allow == ("calls/3.wav",)
    with pytest.raises(SetupError, match=r"select\.allow: can't read the list .*none\.txt"):
        load(written("name: a\nselect: {allow: none.txt}\n"))


def test_marks_are_read_from_their_file_and_change_the_plan_only_where_there_are_some(written, tmp_path):
    line = (
        '{"recording": "calls/1.wav", "track": 1, "start": 1, "end": 2.5, "mark": "bad", "at": "2026-05-01"}'
    )
    (tmp_path / "marks.jsonl").write_text(f"{line}\n")
    (tmp_path / "empty.jsonl").write_text("")
    plain = load(written("name: a\n")).content()
    assert "marks" not in plain["select"]
    assert load(written("name: a\nselect: {marks: empty.jsonl}\n")).content() == plain
    marked = load(written("name: a\nselect: {marks: marks.jsonl}\n"))
    (mark,) = marked.content()["select"]["marks"]
    assert mark == {"recording": "calls/1.wav", "track": 1, "start": 1.0, "end": 2.5, "mark": "bad"}
    (tmp_path / "marks.jsonl").write_text("bad\n")
    with pytest.raises(SetupError, match=r"select\.marks: can't read the marks in .*: line 1"):
        load(written("name: a\nselect: {marks: marks.jsonl}\n"))


def test_texts_and_evaluation_prompts_are_paths_too(written, tmp_path):
    recipe = load(written("name: a\ntexts: chats.jsonl\nselect: {evaluation_prompts: [asked.txt]}\n"))
    assert recipe.texts == (str(tmp_path / "chats.jsonl"),)
    assert recipe.select.evaluation_prompts == (str(tmp_path / "asked.txt"),)
    assert "texts" not in recipe.content()
    assert "evaluation_prompts" not in recipe.content()["select"]


@pytest.mark.parametrize(
    ("section", "key", "used", "unused"),
    [
        ("diarize", "synthesized", "trust", "check"),
        ("transcribe", "synthesized", "trust", "check"),
        ("compose", "asr_speakers", ["human"], None),
        ("compose", "tts_speakers", ["assistant"], None),
    ],
)
def test_options_that_are_not_used_do_not_change_the_plan(written, section, key, used, unused):
    plain, as_default, changed = (
        load(written(f"name: a\n{section}: {json.dumps(settings)}\n")).content()
        for settings in ({}, {key: unused}, {key: used})
    )
    assert key not in plain[section]
    assert as_default == plain
    assert changed == plain | {section: plain[section] | {key: used}}


@pytest.mark.parametrize(
    ("bound", "setting"),
    [
        ("select: {dnsmos_overall_min: 2}", "quality: {quality: null}"),
        ("select: {singing: {dnsmos_overall_min: 2}}", "quality: {quality: null}"),
        ("compose: {labels: {whisper_voiced_max: 0.2}}", "quality: {pitch: null}"),
        ("select: {styles: confirmed}", "quality: {pitch: null}"),
        ("synthesize: {checks: {error_rate_max: 0.3}}", "transcribe: {synthesized: trust}"),
    ],
)
def test_a_bound_on_what_is_not_measured_is_refused(written, bound, setting):
    assert load(written(f"name: a\n{bound}\n"))
    assert load(written(f"name: a\n{setting}\n"))
    with pytest.raises(SetupError, match="needs what isn't measured with"):
        load(written(f"name: a\n{bound}\n{setting}\n"))


@pytest.mark.parametrize(
    ("preferences", "message"),
    [
        ("{candidates: [c.jsonl]}", "need `ratings` or a `judge`"),
        ("{ratings: [r.jsonl]}", "and vice versa"),
        ("{contrast: {deaf: 0.1}}", "add aqtaa to"),
    ],
)
def test_preferences_that_could_yield_no_pairs_are_refused(written, preferences, message):
    with pytest.raises(SetupError, match=f"recipe.yaml:3: `preferences`.*{message}"):
        load(written(f"name: a\ncompose: {{families: [asr]}}\npreferences: {preferences}\n"))


def test_voices_that_could_not_be_told_apart_are_refused(written):
    bare = "name: a\nvocabulary: {preset: step1, audio_markers: false}\n"
    with pytest.raises(SetupError, match=r"marker_preserving` needs `vocabulary.audio_markers`"):
        load(written(f"{bare}interleave: {{}}\n"))
    with pytest.raises(SetupError, match=r"two voices .* can't be told apart"):
        load(written(bare))
    options = load(written(f"{bare}interleave: {{concatenation: marker_removal}}\n")).vocabulary.options
    assert (options.chat_bos, options.audio_markers, options.prefix_newline) == (True, False, True)


def test_options_of_a_vocabulary_that_are_not_used_leave_a_plan_as_it_was(written):
    recipe = load(written("name: a\n"))
    assert recipe.content()["vocabulary"] == {"tokenizer": "package:whisper-base", "preset": "embedded"}
    recipe = load(written("name: a\nvocabulary: {chat_bos: true}\n"))
    assert recipe.content()["vocabulary"]["chat_bos"] is True


def test_a_mixture_has_a_weight_for_exactly_the_composed_families(written):
    families = "compose: {families: [asr, tts]}\n"
    recipe = load(written(f"name: a\n{families}mixture: {{weights: {{asr: 1, tts: 2}}}}\n"))
    assert recipe.mixture.weights == {"asr": 1, "tts": 2}
    with pytest.raises(SetupError, match=r"recipe.yaml:3: `mixture`.*only one has replay, tts"):
        load(written(f"name: a\n{families}mixture: {{weights: {{asr: 1, replay: 2}}}}\n"))


OLD_NAMES = """\
name: a
converse: {gap_seconds_max: 2}
prefer:
  contrast: {deaf: 0.1}
resources:
  assess: {cpus: 3}
"""


def test_old_names_of_keys_still_work_with_one_warning_each(written, capsys):
    path = written(OLD_NAMES)
    recipe = load(path, ["assess.pitch=file:/pitch"])
    assert recipe.pair_turns.gap_seconds_max == 2
    assert recipe.preferences.contrast["deaf"] == 0.1
    assert recipe.resources.quality.cpus == 3
    assert recipe.quality.pitch == "file:/pitch"
    out, err = capsys.readouterr()
    assert out == ""
    ending = "; the old name works until the next release"
    assert err.splitlines() == [
        f"{path}:2: `converse` is now called `pair_turns`{ending}",
        f"{path}:3: `prefer` is now called `preferences`{ending}",
        f"{path}:6: `resources.assess` is now called `resources.quality`{ending}",
        f"--set assess.pitch=file:/pitch: `assess.pitch` is now called `quality.pitch`{ending}",
    ]


def test_old_and_new_names_describe_the_same_build(written):
    old = load(written(OLD_NAMES))
    new = OLD_NAMES.replace("converse", "pair_turns").replace("prefer:", "preferences:")
    assert load(written(new.replace("assess", "quality"))).content() == old.content()


def test_new_names_are_read_without_a_warning(written, capsys):
    load(written("name: a\nquality: {pitch: file:/pitch}\n"), ["pair_turns.gap_seconds_max=2"])
    assert capsys.readouterr().err == ""


def test_a_setting_with_an_old_name_overrides_the_new_name_in_the_file(written):
    recipe = load(written("name: a\npair_turns: {gap_seconds_max: 2}\n"), ["converse.gap_seconds_max=3"])
    assert recipe.pair_turns.gap_seconds_max == 3


def test_a_setting_with_a_new_name_overrides_the_old_name_in_the_file(written):
    recipe = load(written("name: a\nconverse: {gap_seconds_max: 2}\n"), ["pair_turns.gap_seconds_max=3"])
    assert recipe.pair_turns.gap_seconds_max == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\nconverse: {}\npair_turns: {}\n",
            "{0}:2 and {0}:3: `converse` is the old name of `pair_turns`, and both are set",
        ),
        (
            "name: a\nresources:\n  quality: {}\n  assess: {}\n",
            "{0}:3 and {0}:4: `resources.assess` is the old name of `resources.quality`, and both are set",
        ),
    ],
)
def test_a_file_with_both_names_of_a_key_is_refused_with_both_lines(written, text, message):
    path = written(text)
    with pytest.raises(SetupError) as error:
        load(path)
    assert message.format(path) in str(error.value)


def test_a_mistake_under_an_old_name_is_reported_with_its_line(written):
    with pytest.raises(SetupError) as error:
        load(written("name: a\nconverse:\n  gap_seconds_max: much\n  gap: 1\n"))
    first, second = str(error.value).splitlines()
    assert "recipe.yaml:3: `pair_turns.gap_seconds_max`: input should be a valid number" in first
    assert "recipe.yaml:4: unknown key `pair_turns.gap`;" in second


@pytest.mark.parametrize("name", ["2024-13-45", "2024-01-31"])
def test_a_date_is_text(written, name):
    assert load(written(f"name: {name}\n")).name == name


def test_values_can_be_shared_by_anchors_and_merge_keys(written):
    recipe = load(written("name: a\nselect: &s {words_min: 3}\nquality: {}\nshard: {}\n"))
    assert recipe.select.words_min == 3
    text = "name: a\nresources:\n  decode: &d {cpus: 2}\n  tokenize: {<<: *d, cpus: 3}\n"
    assert load(written(text)).resources.tokenize.cpus == 3


@pytest.mark.parametrize("recipe", [Recipe, TrainingRecipe, VocoderRecipe])
def test_the_example_of_a_setting_is_valid(written, recipe):
    parsed = read_yaml(written("output: out\n"), [EXAMPLE])
    [name] = parsed.values.keys() - {"output"}
    assert name in recipe.model_fields


HEAVY = ("torch", "ray", "pyannote", "librosa", "transformers", "scipy", "onnxruntime")
REPORT = f"print(*sorted(set(sys.modules) & set({HEAVY!r})))"


@pytest.mark.parametrize("command", ["build", "submit", "train"])
def test_a_mistake_is_reported_before_heavy_libraries_are_imported(written, command):
    path = written("name: a\nselct: {}\n")
    arguments = [command, str(path), *(["--overlay", "h100"] if command == "submit" else [])]
    main = f"from pipeline.cli import main\ntry: main({arguments!r})\nexcept SystemExit: {REPORT}"
    done = subprocess.run([sys.executable, "-c", f"import sys\n{main}"], capture_output=True, text=True)
    assert "recipe.yaml:2: unknown key `selct`" in done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("boxes: [{widht: 2}]\n", [], "{0}:1: unknown key `boxes.0.widht`; did you mean `width`?"),
        ("boxes: [{colour: red}]\n", [], "{0}:1: unknown key `boxes.0.colour`; valid here: width"),
        ("boxes: [{width: 20}]\n", [], "{0}: the boxes are too wide"),
        (
            "boxes: [{}]\n",
            ["boxes=[{w: 2}]"],
            "--set boxes=[{w: 2}]: unknown key `boxes.0.w`; valid here: width",
        ),
    ],
)
def test_a_mistake_in_an_item_of_a_list_is_told_alone(written, text, settings, message):
    file = written(text)
    with pytest.raises(SetupError) as raised:
        read_yaml(file, settings).validated(Shelf)
    assert str(raised.value) == message.replace("{0}", str(file))


@pytest.mark.parametrize("limit", ["select.known_text_error_max=0.3", "select.singing={}"])
def test_a_limit_on_given_text_needs_somebody_who_hears_it(written, limit):
    recipe = written("name: a\ninputs: [b]\n")
    with pytest.raises(SetupError, match="hears turns with a text, too"):
        load(recipe, ["transcribe.existing=use", limit])
    for existing in ("check", "ignore"):
        load(recipe, [f"transcribe.existing={existing}", limit])
