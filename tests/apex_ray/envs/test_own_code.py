"""Environments of the user's own: found in the current folder, and made in processes that never ran their script."""

import sys
import types

import cloudpickle
import gymnasium
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.own_code import unpack
from trainkit.errors import UserError

MODULE = """
import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

class Own(CartPoleEnv):
    pass

gymnasium.register("own/{name}-v0", entry_point="{name}:Own")
"""


@pytest.fixture(autouse=True)
def nothing_stays():
    path, modules, registry = list(sys.path), set(sys.modules), dict(gymnasium.registry)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]
    gymnasium.registry.clear()
    gymnasium.registry.update(registry)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, which is on nobody's path, with a module in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_game.py").write_text(MODULE.format(name="my_game"))
    return tmp_path


@pytest.mark.parametrize(
    "config",
    [
        {"id": "my_game:own/my_game-v0"},
        {"id": "own/my_game-v0", "import_modules": ("my_game",)},
    ],
)
def test_a_module_in_the_current_folder_loads(here, config):
    assert probe(EnvConfig(frame_stack=1, **config)).env_id == "own/my_game-v0"


def test_nothing_in_the_current_folder_hides_an_installed_package(here):
    (here / "torch.py").write_text("raise RuntimeError")
    probe(EnvConfig(id="my_game:own/my_game-v0", frame_stack=1))
    assert sys.path.index(str(here)) == len(sys.path) - 1


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"id": "my_gane:own/my_game-v0"}, ["no module 'my_gane'", "current folder", "Did you mean 'my_game'"]),
        ({"id": "CartPole-v1", "import_modules": ("my_gane",)}, ["env.import_modules", "--working-dir", "'my_game'"]),
        ({"id": "my_broken:X-v0"}, ["'my_broken' does not import: SyntaxError"]),
        ({"id": "my_needy:X-v0"}, ["module 'my_needy' needs 'no_such_package', which is not installed"]),
        ({"id": "my_game:own/my_gane-v0"}, ["not registered", "Did you mean 'own/my_game-v0'"]),
        ({"id": "own/my_game-v0"}, ["not registered", "env.id=module:own/my_game-v0", "current folder"]),
    ],
)
def test_what_does_not_load_says_what_to_do(here, config, parts):
    (here / "my_broken.py").write_text("def (")
    (here / "my_needy.py").write_text("import no_such_package")
    with pytest.raises(UserError) as info:
        make_envs(EnvConfig(**config), 1)
    for part in parts:
        assert part in str(info.value)


def sent(config):
    """The probe's answer as another process gets it, which has not run what this one has."""
    spec = cloudpickle.loads(cloudpickle.dumps(probe(config)))
    gymnasium.registry.pop(config.id)
    return spec


def test_a_class_of_the_script_itself_travels(monkeypatch):
    """As in `gym.register(...)` in the script that calls train(): its module is __main__, which workers do not have."""
    script = types.ModuleType("__main__")
    exec(MODULE.format(name="__main__"), vars(script))
    monkeypatch.setitem(sys.modules, "__main__", script)
    config = EnvConfig(id="own/__main__-v0", frame_stack=1)
    spec = sent(config)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    with pytest.raises(UserError, match="not registered"):
        make_envs(config, 1)
    unpack(spec.env_id, spec.own_code)
    envs = make_envs(config, 1)
    assert envs.reset(1)["frames"].shape == (1, 1, 4)
    assert type(envs._envs[0].unwrapped).__name__ == "Own"


@pytest.mark.filterwarnings("ignore:.*Overriding environment")  # the module, imported again, registers it again
def test_a_module_beside_the_script_travels_by_its_folder(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    __import__("my_game")
    config = EnvConfig(id="own/my_game-v0", frame_stack=1)
    spec = sent(config)
    del sys.modules["my_game"]
    monkeypatch.undo()
    unpack(spec.env_id, spec.own_code)
    assert make_envs(config, 1).reset(1)["frames"].shape == (1, 1, 4)


def test_what_can_not_travel_says_so(monkeypatch):
    lock = __import__("threading").Lock()
    entry = gymnasium.registry["CartPole-v1"].entry_point

    def make(**kwargs):
        with lock:
            return gymnasium.envs.registration.load_env_creator(entry)(**kwargs)

    make.__module__ = "__main__"
    gymnasium.register("own/Locked-v0", entry_point=make)
    spec = sent(EnvConfig(id="own/Locked-v0", frame_stack=1))
    with pytest.raises(UserError, match=r"can't be sent .*lock.*env.id=module:own/Locked-v0"):
        unpack(spec.env_id, spec.own_code)


def test_code_that_is_not_on_that_machine_is_named(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    module = __import__("my_game")
    gymnasium.register("own/ByClass-v0", entry_point=module.Own)
    spec = sent(EnvConfig(id="own/ByClass-v0", frame_stack=1))
    del sys.modules["my_game"]
    monkeypatch.undo()
    (here / "my_game.py").unlink()
    with pytest.raises(UserError, match=r"code is not on this machine .*my_game.*--working-dir"):
        unpack(spec.env_id, spec.own_code)
