"""Is the document valid OpenAPI 3.1, and are its own examples what it says?

    python validate.py [openapi.json]
"""

import json
import sys
from pathlib import Path

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

SOURCE = Path(__file__).parents[3] / "kernel/src/routes/openapi.json"


def main() -> int:
    document = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else SOURCE).read_text())
    faults = [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in OpenAPIV31SpecValidator(document).iter_errors()
    ]
    examples = 0
    for where, schema, value in examples_of(document, "#"):
        examples += 1
        faults += [f"{where}: {error.message}" for error in checker(document, schema).iter_errors(value)]
    print("\n".join(faults) or f"valid, with {examples} examples that fit")
    return 1 if faults or not examples else 0


def checker(document: dict, schema: dict) -> jsonschema.Draft202012Validator:
    """A validator of `schema`, which may point into the document's components."""
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def examples_of(node, where: str):
    """Every example of a media type, with its schema."""
    if isinstance(node, list):
        for index, member in enumerate(node):
            yield from examples_of(member, f"{where}/{index}")
    if not isinstance(node, dict):
        return
    if isinstance(node.get("schema"), dict):
        if "example" in node:
            yield f"{where}/example", node["schema"], node["example"]
        for name, example in node.get("examples", {}).items():
            yield f"{where}/examples/{name}", node["schema"], example["value"]
    for name, member in node.items():
        if name not in ("example", "examples"):
            yield from examples_of(member, f"{where}/{name}")


if __name__ == "__main__":
    sys.exit(main())
