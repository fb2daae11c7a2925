"""A home-made Mega Drive game that stands in for the Sonic cartridges: its source, an assembler, the ROM they make."""
