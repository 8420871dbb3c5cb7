"""Types of the words that people chose and the node can read: names and a few lines about somebody (docs/protocol.md, "Names")."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from vyry.accounts.profile import USERNAME_RULE, read_username
from vyry.errors import InvalidRequest
from vyry.kernel.display_text import validate_line, validate_lines


#: The columns count as Unicode does: what is made of several characters counts as several.
_CODE_POINTS_PER_CHARACTER: Final = 1


@dataclass(frozen=True, slots=True)
class CleanText:
    """Marks text that is kept as it is shown: trimmed, composed (NFC), without controls and what cannot be seen."""

    clean: Callable[[str, int, int], str]
    max_length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._read, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": int(self.clean is validate_line), "maxLength": self.max_length}

    def _read(self, text: str) -> str:
        return self.clean(text, self.max_length, _CODE_POINTS_PER_CHARACTER)


@dataclass(frozen=True, slots=True)
class NamedUser:
    """Marks a username in either case; a refusal says the rule in words."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._read, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": 3, "maxLength": 30, "pattern": "^[A-Za-z0-9_.]+$"}

    def _read(self, text: str) -> str:
        try:
            return read_username(text)
        except InvalidRequest:
            raise ValueError(USERNAME_RULE) from None


Username = Annotated[str, NamedUser()]
Name = Annotated[str, CleanText(validate_line, 100)]
Bio = Annotated[str, CleanText(validate_lines, 500)]
