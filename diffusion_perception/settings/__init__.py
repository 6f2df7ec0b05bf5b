"""Settings: YAML files and overrides to frozen dataclasses, strictly, and back to YAML.

files     configurations found, composed, overridden     binding       sections and plug-ins to dataclasses
layers    one mapping of settings over another           values        one value to its type
typed     YAML that keeps what was typed                 plain         dataclasses back to data
modules   plug-ins found as files                        signatures    what a `build` takes, by the function ...
                                                         source_text   ... or by the text of its module
"""

from diffusion_perception.settings.binding import bind, convert
from diffusion_perception.settings.files import lay_over, plugin_name, read_file
from diffusion_perception.settings.plain import replaced, spelled_out, to_plain

__all__ = ["bind", "convert", "lay_over", "plugin_name", "read_file", "replaced", "spelled_out", "to_plain"]
