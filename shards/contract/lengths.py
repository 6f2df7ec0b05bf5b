"""The unit of a field of lengths, such as depth: its prose names metres, millimetres or a fraction of a metre."""

from __future__ import annotations

import re

from shards.contract.schema import Field
from shards.errors import SchemaMismatch

_UNIT = re.compile(r"(?:\b1\s*/\s*(\d+)\s*)?\b(millimet(?:re|er)s?|mm|met(?:re|er)s?|m)\b", re.IGNORECASE)


def per_metre(field: Field) -> float:
    """Stored units in a metre, from the first length named in a field's unit text.

    Raises:
        SchemaMismatch: no length is named.
    """
    found = _UNIT.search(field.unit)
    if found is None:
        raise SchemaMismatch(
            f"field {field.name}: its unit is {field.unit!r}; expected a text that names metres, millimetres or, for "
            "example, 1/256 metres. Rebuild the set with a source that says so."
        )
    fraction, length = found.groups()
    return float(fraction or 1) * (1000.0 if length.lower().startswith(("mil", "mm")) else 1.0)
