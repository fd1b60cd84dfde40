"""Utterances to media: the order of sources, what is rendered ahead, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr_server.audio.clip import Clip
from ivr_server.audio.measure import measure
from ivr_server.audio.wav import write_wav
from ivr_server.errors import SetupError
from ivr_server.flow.ports import Prompt, Say, Text, Utterance
from ivr_server.speech import voice
from ivr_server.speech.catalogue import Catalogue
from ivr_server.speech.grammar import place_values, wait_values
from ivr_server.speech.speech import Speech
from ivr_server.speech.voice import Words

from .conftest import PROMPTS, USED, Built


def path_of(uri: str) -> Path:
    assert uri.startswith("sound:/")
    path = Path(uri.removeprefix("sound:"))
    assert path.suffix == ""
    return path.with_name(path.name + ".wav")


def small(tmp_path: Path, core: Path | None = None) -> Speech:
    """One phrase, nothing rendered."""
    folder = tmp_path / "prompts" / "en"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phrases.yaml").write_text("bye: {text: Goodbye!, sound: vm-goodbye}")
    catalogue = Catalogue.load(tmp_path / "prompts")
    return Speech(catalogue, tmp_path / "prompts", tmp_path / "rendered", core)


def beep(path: Path, rate: int = 8000) -> Path:
    write_wav(path, b"\x00\x20\x00\xe0" * 2000, rate)
    return path


# --- what a build makes


def test_the_build_renders_everything_and_says_so(built: Built) -> None:
    assert built.report.failed == ()
    assert built.report.rendered == len(built.progress) > 300
    assert built.progress[-1][:2] == (len(built.progress), len(built.progress))
    assert not list(built.folder.rglob("*.part"))
    assert not list(built.folder.glob(".raw-*"))


def test_every_rendered_file_is_audible_and_fit_for_a_telephone(built: Built) -> None:
    files = sorted(built.folder.rglob("*.wav"))
    assert len(files) == built.report.rendered
    for path in files:
        found = measure(path)
        assert (found.rate, found.channels) == (8000, 1), path
        assert -24 < found.rms_dbfs < -15, path
        assert found.peak_dbfs < -0.5, path
        assert 0.15 < found.duration_s < 15, path
        clip = Clip.read(path)
        assert max(clip.silence_s(-45)) <= 0.25, path


@pytest.mark.parametrize("language", ["ru", "en"])
def test_all_that_callers_must_hear_has_a_sound(built: Built, language: str) -> None:
    everything: list[Utterance] = [Prompt(n) for n in built.speech.catalogue.names(language)]
    everything += [Say("wait", value) for value in wait_values()]
    everything += [Say("place", value) for value in place_values()]
    everything += [Say("number", str(n)) for n in range(101)]
    for what in everything:
        [uri] = built.speech.media(language, [what])
        assert path_of(uri).is_relative_to(built.folder / language)
        assert path_of(uri).is_file()


def test_literal_texts_and_rare_numbers_of_flows_are_rendered(built: Built) -> None:
    for language, what in USED:
        assert len(built.speech.media(language, [what])) == 1
    assert built.speech.missing(USED, on_disk=True) == []


def test_a_second_build_starts_no_process(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    again = Speech(Catalogue.load(PROMPTS), PROMPTS, built.folder).build(USED)
    assert again.rendered == 0
    assert again.cached >= built.report.rendered
    assert again.failed == ()
    assert again.seconds < 2


def test_only_what_is_missing_is_rendered_again(built: Built, tmp_path: Path) -> None:
    shutil.copytree(built.folder, tmp_path / "copy")
    speech = Speech(Catalogue.load(PROMPTS), PROMPTS, tmp_path / "copy")
    [uri] = speech.media("ru", [Say("wait", "5")])
    path_of(uri).unlink()
    assert speech.media("ru", [Say("wait", "5")]) == []
    assert speech.build(USED).rendered == 1
    assert speech.media("ru", [Say("wait", "5")]) == [uri]


def test_a_text_without_words_fails_alone(tmp_path: Path) -> None:
    speech = small(tmp_path)
    failures = speech._voice.render([Words("en", "\u200b"), Words("en", "yes")])
    assert len(failures) == 1
    assert "nothing to say" in failures[0]
    assert len(list((tmp_path / "rendered" / "en").glob("*.wav"))) == 1


# --- without an engine


def test_without_espeak_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "_installed", lambda: "")
    with pytest.raises(SetupError, match="pip install espeakng-loader"):
        small(tmp_path).build([])


def test_without_espeak_what_was_rendered_elsewhere_is_found(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "_installed", lambda: "")
    speech = Speech(Catalogue.load(PROMPTS), PROMPTS, built.folder)
    assert speech.build(USED).rendered == 0
    assert len(speech.media("ru", [Prompt("welcome")])) == 1


def test_an_engine_that_dies_is_reported_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "espeakng_loader.py").write_text("raise ImportError('libespeak-ng.so is gone')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(SetupError, match="is gone"):
        small(tmp_path).build([])


# --- the order of sources


def test_recorded_wins_over_core_and_core_over_rendered(tmp_path: Path) -> None:
    core = tmp_path / "core"
    sound = beep(core / "en_US_f_Allison" / "vm-goodbye.wav")
    speech = small(tmp_path, core)
    assert speech.media("en", [Prompt("bye")]) == [f"sound:{sound.with_suffix('')}"]
    recorded = beep(tmp_path / "prompts" / "en" / "bye.wav")
    assert speech.media("en", [Prompt("bye")]) == [f"sound:{recorded.with_suffix('')}"]
    recorded.unlink()
    assert small(tmp_path).media("en", [Prompt("bye")]) == []


def test_a_recording_that_asterisk_cannot_play_is_reported_and_passed_over(tmp_path: Path) -> None:
    core = tmp_path / "core"
    beep(core / "en" / "vm-goodbye.wav")
    speech = small(tmp_path, core)
    beep(tmp_path / "prompts" / "en" / "bye.wav", rate=44100)
    assert "core" in speech.media("en", [Prompt("bye")])[0]
    [problem] = speech.problems()
    assert "ffmpeg" in problem.message
    assert problem.line == 1


def test_a_core_sound_that_is_not_installed_is_reported(tmp_path: Path) -> None:
    beep(tmp_path / "core" / "en" / "hello.wav")
    [problem] = small(tmp_path, tmp_path / "core").problems()
    assert "no core sound 'vm-goodbye'" in problem.message
    assert small(tmp_path, tmp_path / "absent").problems() == []


def test_folders_that_asterisk_would_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="rename"):
        Speech(Catalogue.load(PROMPTS), PROMPTS, tmp_path / "a,b")


# --- values


def test_digits_are_one_piece_each_and_core_sounds_where_there_are(tmp_path: Path) -> None:
    core = tmp_path / "core"
    for sound in ("4", "7", "1", "star"):
        beep(core / "en" / "digits" / f"{sound}.wav")
    media = small(tmp_path, core).media("en", [Say("digits", "4711*")])
    folder = core / "en" / "digits"
    assert media == [f"sound:{folder / name}" for name in ("4", "7", "1", "1", "star")]


def test_half_of_a_number_is_never_spoken(tmp_path: Path) -> None:
    core = tmp_path / "core"
    beep(core / "en" / "digits" / "4.wav")
    speech = small(tmp_path, core)
    assert speech.media("en", [Say("digits", "47")]) == []
    assert speech.misses == {("en", "say digits"): 1}


def test_a_rare_number_is_spelled_from_rendered_pieces(built: Built) -> None:
    speech = built.speech
    spelled = speech.media("ru", [Say("number", "4711")])
    assert spelled == speech.media("ru", [Say("digits", "4711")])
    assert len(spelled) == 4
    assert len(speech.media("ru", [Say("number", "-5.5")])) == 4
    assert speech.media("ru", [Say("number", "7.0")]) == speech.media("ru", [Say("number", "7")])
    assert len(speech.media("ru", [Say("digits", "1" * 5000)])) <= 40


@pytest.mark.parametrize(
    ("kind", "value", "same_as"),
    [
        ("wait", "0", "1"),
        ("wait", "11", "15"),
        ("wait", "26", "30"),
        ("wait", "31", "30+"),
        ("wait", "999999", "30+"),
        ("place", "21", ">20"),
        ("place", "400", ">20"),
    ],
)
def test_values_between_the_phrases_are_rounded_up(
    built: Built, kind: str, value: str, same_as: str
) -> None:
    media = built.speech.media("en", [Say(kind, value)])
    assert len(media) == 1
    assert media == built.speech.media("en", [Say(kind, same_as)])


def test_words(built: Built) -> None:
    what: list[Utterance] = [
        Prompt("order_number_is"),
        Say("digits", "471"),
        Say("wait", "5"),
        Text("Да."),
    ]
    assert built.speech.words("ru", what) == (
        "Номер вашего заказа: четыре, семь, один Примерное время ожидания: не более пяти минут. Да."
    )


@pytest.mark.parametrize(
    ("wanted", "found"), [("ru", "ru"), ("ru-RU", "ru"), ("RU_ru", "ru"), ("zh", "en"), ("", "en")]
)
def test_the_nearest_language(built: Built, wanted: str, found: str) -> None:
    assert built.speech.language(wanted) == found


# --- what is refused

HOSTILE: list[Utterance] = [
    Prompt("../../etc/passwd"),
    Prompt("/etc/passwd"),
    Prompt(""),
    Prompt("welcome/../../x"),
    Prompt("welcome.wav"),
    Prompt("welcome\0"),
    Say("digits", "/etc/passwd\0"),
    Say("number", "/etc/passwd"),
    Say("wait", "../5"),
    Say("wait", "-5"),
    Say("wait", "\u0665"),  # an Arabic-Indic five
    Say("place", "0"),
    Say("../wait", "5"),
    Text("/etc/passwd"),
    Text(""),
    Text("x" * 100_000),
]


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_hostile_becomes_a_path(built: Built, what: Utterance) -> None:
    assert built.speech.media("en", [what]) == []


@given(
    language=st.text(max_size=10) | st.just("en"),
    what=st.builds(Prompt, st.text())
    | st.builds(Text, st.text())
    | st.builds(Say, st.sampled_from(["number", "digits", "wait", "place", "x"]), st.text())
    | st.builds(Say, st.just("digits"), st.text(alphabet="0123456789*#/.\\")),
)
def test_no_input_raises_or_leaves_the_folders(
    built: Built, language: str, what: Utterance
) -> None:
    for uri in built.speech.media(language, [what]):
        path = path_of(uri)
        assert ".." not in path.parts
        assert path.is_relative_to(built.folder)


def test_misses_stay_bounded_whatever_callers_type(tmp_path: Path) -> None:
    speech = small(tmp_path)
    for n in range(500):
        speech.media("en", [Say("digits", str(n)), Say("wait", str(n))])
    assert len(speech.misses) == 2


@pytest.mark.parametrize(
    ("language", "what", "words"),
    [
        ("en", Prompt("welcom"), "did you mean 'welcome'?"),
        ("fr", Prompt("welcome"), "no prompts in language 'fr'"),
        ("en", Say("wait", "soon"), "'soon' cannot be spoken"),
        ("en", Text("..."), "empty or too long"),
    ],
)
def test_missing_says_what_and_where(
    built: Built, language: str, what: Utterance, words: str
) -> None:
    [absent] = built.speech.missing([(language, what), ("ru", Prompt("welcome"))])
    assert (absent.language, absent.utterance) == (language, what)
    assert words in absent.message


def test_missing_on_disk(tmp_path: Path) -> None:
    speech = small(tmp_path)
    assert speech.missing([("en", Prompt("bye"))]) == []
    [absent] = speech.missing([("en", Prompt("bye"))], on_disk=True)
    assert "prompts build" in absent.message


def test_the_script_lists_texts_files_sources_and_places(built: Built) -> None:
    used: list[tuple[str, Utterance, str]] = [
        ("ru", Prompt("welcome"), "flows/main.yaml:3:5"),
        ("ru", Prompt("welcome"), "flows/sales.yaml:9:5"),
        ("en", Text("The warehouse is closed for lunch."), "flows/main.yaml:7:5"),
    ]
    rows = {row.file: row for row in built.speech.script(used)}
    welcome = rows["ru/welcome.wav"]
    assert welcome.text.startswith("Здравствуйте")
    assert welcome.used == ("flows/main.yaml:3:5", "flows/sales.yaml:9:5")
    assert (welcome.source, welcome.note) == ("rendered", "приветливо, без спешки")
    assert rows["en/wait-over-30.wav"].text == "The estimated wait is more than thirty minutes."
    assert rows["ru/digit-star.wav"].text == "звёздочка"
    [literal] = [row for row in rows.values() if row.file.startswith("en/text-")]
    assert literal.used == ("flows/main.yaml:7:5",)
