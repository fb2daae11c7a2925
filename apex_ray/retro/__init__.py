"""Games of stable-retro, Sonic's stages among them: a plug-in (config/plugins.py), of which the rest knows nothing."""
