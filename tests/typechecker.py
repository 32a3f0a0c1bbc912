"""What checks annotations while tests run: beartype, with an int allowed where a float is declared.

jaxtyping's import hook decorates every function with `jaxtyping.jaxtyped`, which binds the arguments and calls the
checker twice for each call, so that names of axes agree over arguments and result. `check_cheaply` keeps that for
functions whose annotations have shapes; beartype alone makes the same checks of all others, at a tenth of the cost.
"""

import inspect
from dataclasses import is_dataclass
from functools import partial, wraps
from typing import get_args

import jaxtyping
from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped


def check_cheaply():
    """Have the import hook use beartype alone for functions and dataclasses without shapes in their annotations."""
    jaxtyping.jaxtyped = _checked_as_annotated


def _checked_as_annotated(decorated=None, *, typechecker):
    if decorated is None:
        return partial(_checked_as_annotated, typechecker=typechecker)
    if inspect.isclass(decorated):
        if not is_dataclass(decorated) or _needs_axes(decorated.__init__):
            return _jaxtyped(decorated, typechecker=typechecker)
        decorated.__init__ = _unless_disabled(decorated.__init__, typechecker)
        return decorated
    if _needs_axes(decorated):
        return _jaxtyped(decorated, typechecker=typechecker)
    return _unless_disabled(decorated, typechecker)


def _unless_disabled(function, typechecker):
    """The function with its checks, which `jaxtyping_disable` turns off as it does those of jaxtyping."""
    checking = typechecker(function)

    @wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        return (function if jaxtyping.config.jaxtyping_disable else checking)(*args, **kwargs)

    return function if checking is function else call


def _needs_axes(function):
    """Whether names of axes may have to agree, or beartype would check a call later than jaxtyping does."""
    if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
        return True
    return any(map(_has_shape, function.__annotations__.values()))


def _has_shape(annotation):
    if isinstance(annotation, str):
        return True  # a name that is defined later may be that of an array
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    parts = annotation if isinstance(annotation, list | tuple) else get_args(annotation)
    return any(map(_has_shape, parts))
