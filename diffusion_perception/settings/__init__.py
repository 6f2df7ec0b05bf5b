"""Settings: YAML files and overrides to frozen dataclasses, strictly, and back to YAML."""

from diffusion_perception.settings.binding import bind, convert, replaced, spelled_out, to_plain
from diffusion_perception.settings.files import lay_over, read_file

__all__ = ["bind", "convert", "lay_over", "read_file", "replaced", "spelled_out", "to_plain"]
