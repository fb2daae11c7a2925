"""WaveNet (van den Oord et al. 2016): sound, sample by sample, from an audio folder to a generated file."""

from trainkit.own_folders import settle

settle()
