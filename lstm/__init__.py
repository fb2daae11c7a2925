"""Long short-term memory (Hochreiter & Schmidhuber 1997): series, text and sound, step by step."""

from trainkit.own_folders import settle

settle()
