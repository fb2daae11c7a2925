"""EnvConfigs of the plug-in's games."""

from apex_ray.config.schema import EnvConfig
from apex_ray.retro.settings import RetroSettings


def game(env_id, **settings):
    """With the plug-in's settings among those of env."""
    kwargs = {name: settings.pop(name) for name in [*settings] if name in RetroSettings.model_fields}
    return EnvConfig(id=env_id, kwargs=kwargs, **settings)
