"""JSON Schemas of the shapes, for OpenAPI and AsyncAPI: request schemas are closed, response schemas permit new fields."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema


Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
Shape = tuple[type[BaseModel], Mode]
#: Request shapes are described as validated, response shapes as serialized.
REQUEST_MODE: Final[Mode] = "validation"
RESPONSE_MODE: Final[Mode] = "serialization"
_COMPONENTS: Final = "#/components/schemas/"
_EXAMPLE_ID: Final = "0198c2d4-7a00-7000-8000-000000000000"
_EXAMPLE_MOMENT: Final = "2026-01-31T12:00:00.000Z"


class _Generator(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of one shape. A response schema has no additionalProperties, because clients ignore unknown fields."""
        described = super().model_schema(schema)
        if self.mode == RESPONSE_MODE:
            described.pop("additionalProperties", None)
        return described

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  pydantic's signature
        """No titles: they would repeat the names."""
        return False


def schemas_of(shapes: Iterable[Shape]) -> tuple[Mapping[Shape, Schema], Schema]:
    """A reference into the components for each shape, and the components."""
    references, definitions = models_json_schema(
        list(dict.fromkeys(shapes)), by_alias=True, ref_template=f"{_COMPONENTS}{{model}}", schema_generator=_Generator
    )
    return cast(Mapping[Shape, Schema], references), definitions.get("$defs", {})


def resolve_reference(reference: Schema, components: Schema) -> Schema:
    """The component of a reference."""
    found: Schema = components[reference["$ref"].removeprefix(_COMPONENTS)]
    return found


def example_of(schema: Schema, components: Schema) -> Any:
    """A small value that is valid under `schema`."""
    if "$ref" in schema:
        return example_of(resolve_reference(schema, components), components)
    candidates = [schema[key] for key in ("const", "default") if schema.get(key) is not None]
    candidates += [each for key in ("examples", "enum") for each in schema.get(key, ())]
    if candidates:
        return candidates[0]
    if variants := schema.get("anyOf"):
        return example_of(variants[0], components)
    return _plain_example(schema, components)


def _plain_example(schema: Schema, components: Schema) -> Any:
    example: Any = None
    match schema.get("type"):
        case "object":
            example = {name: example_of(each, components) for name, each in schema.get("properties", {}).items()}
        case "array":
            example = [example_of(schema["items"], components)]
        case "integer" | "number":
            example = schema.get("minimum", 1)
        case "boolean":
            example = True
        case "string":
            example = _text_example(schema)
        case _:
            pass
    return example


def _text_example(schema: Schema) -> str:
    known = {"uuid": _EXAMPLE_ID, "date-time": _EXAMPLE_MOMENT, "date": _EXAMPLE_MOMENT[:10]}
    return known.get(schema.get("format", ""), "text".ljust(schema.get("minLength", 0), "."))
