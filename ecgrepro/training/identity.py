"""What makes two trainings the same: the live code, settings, data and weights they hang on, as one number.

Functions are taken as they are in memory, not as files on disk: a loss edited in a cell, a closure with another
temperature, a patched function and a subclassed encoder are all other trainings. Bytecode is read without
comments and docstrings; library code (torch, numpy) goes in by name.
"""

import dataclasses
import dis
import functools
import hashlib
import os
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ecgrepro import ROOT

GROUND = ("ecgrepro.errors", "ecgrepro.files", "ecgrepro.progress")
"""Modules that say or write what others computed: their code decides no number."""
MODULE_PARTS = frozenset(vars(nn.Module()))
"""What every `nn.Module` holds; the rest of its attributes are its own settings."""


def fingerprint(*things: Any) -> str:
    """Sixteen digits that change when anything does that the things compute with.

    They depend neither on the process nor on Python's hash seed, but on Python's version.

    Parameters
    ----------
    things
        Functions and classes: their code, defaults, closure values, and in turn the functions, classes and
        constants of this package or of the notebook that they name. Networks: classes, settings, weights.
        Arrays: their bytes; but of memory maps and what only looks like an array, shape and type, because
        reading them takes minutes. Dataclasses: their fields with ``compare=True``. An object with a
        method `identity` is what that returns.
    """
    digest = hashlib.sha256()
    for part in _parts(things, {}):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _parts(thing: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """Describe anything; `seen` ends circles, and holds what it has seen so that no id is used twice."""
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield f"{type(thing).__name__} {thing!r}"
        return
    if id(thing) in seen:
        yield f"again {seen[id(thing)][0]}"
        return
    seen[id(thing)] = (len(seen), thing)
    yield type(thing).__qualname__
    for part in _inside(thing):
        if isinstance(part, _Plain):
            yield part
        else:
            yield from _parts(part, seen)
    yield "end"


class _Plain(str):
    """A finished piece of a description, in contrast to a text that is part of what is described."""


def _inside(thing: Any) -> Iterator[Any]:
    """What an object consists of, one level deep."""
    if _ours(type(thing).__module__) and hasattr(thing, "identity"):
        yield from (type(thing), thing.identity())
    elif isinstance(thing, types.ModuleType):
        yield _Plain(thing.__name__)
    elif isinstance(thing, Path):
        yield os.path.relpath(thing, ROOT)  # another place of the clone is no other training
    elif isinstance(thing, types.MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, property):
        yield from (thing.fget, thing.fset)
    elif isinstance(thing, types.CellType):
        yield from [thing.cell_contents] if thing != types.CellType() else []
    elif isinstance(thing, types.FunctionType):
        # Of a library's function the name only: torch wraps some of its own while it runs.
        yield from _function(thing) if _ours(thing.__module__) else [_name(thing)]
    elif isinstance(thing, type):
        yield from _class(thing) if _ours(thing.__module__) else [_name(thing)]
    elif hasattr(thing, "__wrapped__"):  # static and class methods, functools.cache
        yield thing.__wrapped__
    elif isinstance(thing, nn.Module):
        yield from _network(thing)
    elif isinstance(thing, Tensor):
        yield thing.detach().cpu().numpy()
    elif isinstance(thing, np.ndarray | np.generic):
        yield from _array(thing)
    elif isinstance(thing, Mapping):
        yield from thing.items()
    elif isinstance(thing, set | frozenset):
        yield from sorted(map(fingerprint, thing))
    elif isinstance(thing, list | tuple):
        yield from thing
    elif dataclasses.is_dataclass(thing):
        yield type(thing)
        yield from (getattr(thing, f.name) for f in dataclasses.fields(thing) if f.compare)
    elif _ours(type(thing).__module__):
        yield type(thing)
        yield from sorted(getattr(thing, "__dict__", {}).items())
    elif " at 0x" not in (described := repr(thing)):
        yield _Plain(described)


def _name(thing: Any) -> _Plain:
    return _Plain(f"{thing.__module__}.{thing.__qualname__}")


def _function(function: types.FunctionType) -> Iterator[Any]:
    yield from (function.__defaults__, function.__kwdefaults__, function.__closure__)
    yield from _code(function.__code__)
    names = sorted(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, types.ModuleType):
            members = [vars(value)[inner] for inner in names if inner in vars(value)]
            yield from (m for m in members if _ours(value.__name__) or hasattr(m, "__code__"))
        elif value is not None:
            yield from (_Plain(name), value)


def _code(code: types.CodeType) -> Iterator[Any]:
    """Instructions with the values they use. No instruction loads the docstring, so it is not among them."""
    yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    for step in dis.get_instructions(code):
        yield _Plain(step.opname)
        nested = isinstance(step.argval, types.CodeType)
        yield from _code(step.argval) if nested else [step.argval]


def _names(code: types.CodeType) -> set[str]:
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)


def _class(cls: type) -> Iterator[Any]:
    for base in cls.__mro__:
        yield _name(base)
        for name, member in sorted(vars(base).items()) if _ours(base.__module__) else []:
            code = isinstance(member, types.FunctionType | staticmethod | classmethod)
            if code or not name.startswith("__"):
                yield from (_Plain(name), member)


def _network(network: nn.Module) -> Iterator[Any]:
    for name, module in network.named_modules():
        yield from (_Plain(name), type(module))
        yield from sorted((k, v) for k, v in vars(module).items() if k not in MODULE_PARTS)
        yield from (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    yield dict(network.state_dict())


def _array(array: Any) -> Iterator[Any]:
    yield _Plain(f"{array.shape} {array.dtype}")
    if array.dtype == object:
        yield array.tolist()
    elif type(array) is not np.memmap:
        yield _Plain(hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())


@functools.cache
def _ours(module: str | None) -> bool:
    """Whether a module is this package, the notebook, or a file of the reader's own."""
    top = (module or "").partition(".")[0]
    if top in ("ecgrepro", "__main__"):
        return module not in GROUND
    file = getattr(sys.modules.get(top), "__file__", None)
    return top not in sys.stdlib_module_names and file is not None and "-packages" not in file
