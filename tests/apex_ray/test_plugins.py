"""A package that nobody knows brings environments, with settings, reports, a command and an option of its own."""

import subprocess
import sys

import pytest

from apex_ray.cli import main
from apex_ray.config import plugins
from apex_ray.config.load import load, load_run_config
from apex_ray.config.resume import changes, refuse
from apex_ray.config.schema import EnvConfig
from apex_ray.evaluation import evaluation_env
from apex_ray.report.words import words_for
from trainkit.errors import UserError

PLUGIN = '''
from dataclasses import dataclass
from pydantic import Field
from apex_ray.config.plugins import Plugin, TrainOptions
from apex_ray.config.schema import Section

class Settings(Section):
    length: int = Field(4, ge=1)
    names: tuple[str, ...] = ("north", "south")

@dataclass(frozen=True)
class Options(TrainOptions):
    length: int = 0
    """how long episodes are"""
    calm: bool = False

    def settings(self, preset):
        return [f"env.kwargs.length={self.length}"] if self.length else []

@dataclass(frozen=True)
class Wave:
    """Wave a hand."""

    def __call__(self):
        print("waving")
        return 0

class Islands(Plugin):
    settings = Settings
    free = ("env.kwargs.names",)
    renamed = {"env.islands": "env.kwargs.names"}
    emulated = True
    reporter = "islands.report:Visits"
    commands = {"wave": Wave}
    train_options = Options

    def make(self, config, num_envs, in_order):
        from islands.envs import Islands

        return Islands(config, num_envs)

PLUGIN = Islands()
'''
ENVS = """
from dataclasses import replace
from tests.fakes import CountingEnvs, Episode

class Islands(CountingEnvs):
    def __init__(self, config, num_envs):
        super().__init__([[Episode(config.kwargs["length"])]] * num_envs)
        self.spec = replace(self.spec, env_id=config.id, reporter="islands.report:Visits", scores_of="a model")

    def recv(self):
        step = super().recv()
        step.ends = {e: {"island": "north", "calm": True} for e in step.terminated.nonzero()[0].tolist()}
        return step
"""
REPORT = """
from apex_ray.report.episodes import Reporter

class Visits(Reporter):
    def __init__(self, scores_of=""):
        self.scores_of, self.count = scores_of, 0

    def add(self, values):
        assert values == {"island": "north", "calm": True}
        self.count += 1

    def rows(self):
        return [self.count]

    def write(self, run, rows, progress):
        (run / "visits.txt").write_text(f"{rows[0]} of {self.scores_of}")

    def write_evaluation(self, run, result, time_s):
        (run / "visits_evaluated.txt").write_text(str(len(result.episode_values)))

    def table(self, episodes):
        return f"evaluated: {len(episodes)} visits"

    def plot(self, run):
        (run / "visits.png").write_text("a picture")
        return run / "visits.png"

    def summary(self, rows, plot):
        return [f"visits in all: {rows[0] > 0}, {plot.name}"]
"""
PRESET = """
extends: cartpole
name: islands
mode: serial
env: {id: islands/far, kwargs: {names: [north]}}
actors: {count: 1, envs_per_actor: 2, chunk_transitions: 10}
replay: {capacity_transitions: 4000, min_transitions: 100}
learner: {batch_size: 16, threads: 1}
evaluation: {episodes: 3, envs: 1, video: false, env_kwargs: {length: 2}}
stop: {after_s: null, after_updates: 20, evaluation_return: null}
"""


@pytest.fixture
def islands(tmp_path, monkeypatch):
    """The package, installed; gives its preset's path."""
    for name, text in (("plugin", PLUGIN), ("envs", ENVS), ("report", REPORT), ("__init__", "")):
        file = tmp_path / "site" / "islands" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    info = tmp_path / "site" / "islands-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: islands\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nislands = islands.plugin:PLUGIN\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    preset = tmp_path / "islands.yaml"
    preset.write_text(PRESET)
    forget()
    yield str(preset)
    for module in [name for name in sys.modules if name.partition(".")[0] == "islands"]:
        del sys.modules[module]
    forget()


def forget():
    plugins._entry_points.cache_clear()
    plugins.plugin_named.cache_clear()


def test_a_run_with_its_option_and_its_report(islands, tmp_path, capsys):
    assert main(["train", islands, "--length", "5", f"runs_dir={tmp_path}/runs"]) == 0
    out = capsys.readouterr().out
    assert "evaluated: 3 visits" in out and "visits in all: True, visits.png" in out
    (run,) = (tmp_path / "runs").glob("islands-*")
    visits, of = (run / "visits.txt").read_text().split(" of ")
    assert int(visits) > 3 and of == "a model"
    assert (run / "visits_evaluated.txt").read_text() == "3"
    config = load_run_config(run).config
    assert config.env.kwargs == {"length": 5, "names": ["north"]}, "the run keeps all of them"
    assert evaluation_env(config).kwargs == {"length": 2, "names": ["north"]}
    capsys.readouterr()
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert "evaluated: 2 visits" in capsys.readouterr().out
    assert main(["plot", str(run)]) == 0
    assert str(run / "visits.png") in capsys.readouterr().out
    assert main(["train", "--resume", str(run), "env.kwargs.length=6", "stop.after_updates=30"]) == 2
    assert "can't change env.kwargs.length 5 -> 6 (" in capsys.readouterr().err


def test_its_settings_have_keys_sources_and_messages(islands, capsys):
    assert main(["config", islands, "env.kwargs.length=7"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if "kwargs" in line]
    assert lines[0] == "env.kwargs.length = 7 # command line"
    assert lines[1].startswith("env.kwargs.names = [north] # ") and lines[1].endswith("islands.yaml:5")
    for word, part in {
        "env.kwargs.lenght=3": "unknown key 'env.kwargs.lenght'. Did you mean 'env.kwargs.length'?",
        "env.kwargs.length=0": "command line: env.kwargs.length = 0: expected at least 1",
        "env.islands=[north]": "It is now 'env.kwargs.names', for islands/... only",
        "evaluation.env_kwargs.length=0": "command line: evaluation.env_kwargs.length = 0: expected ",
    }.items():
        assert main(["config", islands, word]) == 2
        assert part in capsys.readouterr().err


def test_some_of_its_settings_may_change_on_a_resume(islands):
    changed = ((), ["env.kwargs.names=[south]"], ["env.kwargs.length=1"])
    old, new, short = (load(islands, words).config for words in changed)
    free = plugins.plugin_of("islands/far").free
    assert changes(old, new) == {"env.kwargs.names": (["north"], ["south"])}
    refuse(changes(old, new), None, free)
    with pytest.raises(UserError, match=r"env.kwargs.length 4 -> 1"):
        refuse(changes(old, short), None, free)


def test_a_command_an_option_and_words_of_its_own(islands, capsys):
    assert main(["wave"]) == 0
    assert capsys.readouterr().out == "waving\n"
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    assert "--length" in out and "how long episodes are" in out and "--calm" in out
    assert main(["train", "cartpole", "--length", "3"]) == 2
    assert "env.kwargs.length=3 has no effect on 'CartPole-v1'; expected env.id=islands/..." in capsys.readouterr().err
    assert words_for("islands/far").frames == "emulator frames" and words_for("CartPole-v1").short == "steps"


def test_settings_given_from_python_are_checked_too(islands):
    config = EnvConfig(id="islands/far", kwargs={"length": 3})
    assert plugins.settings_of(config) == {"length": 3, "names": ["north", "south"]}
    with pytest.raises(UserError, match=r"env.kwargs.lengths = 3: unknown key; .* Did you mean 'length'\?"):
        plugins.settings_of(EnvConfig(id="islands/far", kwargs={"lengths": 3}))


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("import no_such_thing", "plug-in 'islands' (islands.plugin:PLUGIN) can't be used: ModuleNotFoundError: "),
        ("PLUGIN = 3", "plug-in 'islands' (islands.plugin:PLUGIN) is 3; expected an instance of a subclass of Plugin"),
    ],
)
def test_a_broken_one_is_named_where_it_is_needed_and_nowhere_else(islands, tmp_path, capsys, source, part):
    (tmp_path / "site" / "islands" / "plugin.py").write_text(source)
    assert main(["config", "cartpole"]) == 0
    capsys.readouterr()
    for words in (["config", islands], ["wave"], ["train", "--length", "3", islands]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert part in err and err.count("\n") == 1


def test_what_needs_no_plug_in_imports_none():
    script = "import sys; from apex_ray.cli import main; main(['config', 'pong']); main(['train', 'nothing'])\n"
    script += "print([name for name in sys.modules if name.startswith(('apex_ray.retro', 'stable_retro'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
