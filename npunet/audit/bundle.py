"""The page's JavaScript: modules in web/ joined into one script, each after those that it imports.

A module becomes a function that is called once and returns what the module exports, so that names stay its own:

    import { fl } from "./float32.js";           const module_fma = (() => {
    export function fma32(a, b, c) { ... }   ->      const { fl } = module_float32;
                                                     function fma32(a, b, c) { ... }
                                                     return { fma32 };
                                                 })();
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function|const|class) (\w+)", re.MULTILINE)


def script(entry: str = "main") -> str:
    """The module `entry` with everything that it imports, as one script."""
    return "\n".join(wrapped(name) for name in ordered(entry))


@cache
def operators(name: str, table: str) -> tuple[str, ...]:
    """The keys of an object by operator, a constant of web/<name>.js. Raises ValueError where there is none."""
    found = re.search(rf"^(?:export )?const {table} = \{{\n(.*?)^\}}", read(f"{name}.js"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"npunet/audit/web/{name}.js has no object {table}")
    return tuple(re.findall(r"^  (\w+)", found[1], re.MULTILINE))


def wrapped(name: str) -> str:
    """One module as a constant "module_<name>"."""
    text = read(f"{name}.js")
    body = IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = module_{found[2]};", text)
    exported = ", ".join(found[2] for found in EXPORT.finditer(body))
    inside = EXPORT.sub(r"\1 \2", body)
    return f"const module_{name} = (() => {{\n{inside}\nreturn {{ {exported} }};\n}})();\n"


def ordered(entry: str, seen: tuple[str, ...] = ()) -> list[str]:
    """A module after all that it needs. Raises ValueError where modules import each other in a circle."""
    if entry in seen:
        raise ValueError(f"the page's modules import each other: {' -> '.join((*seen, entry))}")
    order: list[str] = []
    for found in IMPORT.finditer(read(f"{entry}.js")):
        order += [each for each in ordered(found[2], (*seen, entry)) if each not in order]
    return [*order, entry]


def read(name: str) -> str:
    """One of the files in web/."""
    return files("npunet.audit").joinpath("web", name).read_text(encoding="utf-8")
