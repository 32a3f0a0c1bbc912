"""What checks annotations while tests run: beartype, with an int allowed where a float is declared.

jaxtyping's import hook decorates every function with `jaxtyping.jaxtyped`, which binds the arguments and calls the
checker twice for each call, so that names of axes agree over arguments and result. `check_cheaply` keeps that for
functions whose annotations have shapes, but once for all calls with the same types, dtypes and shapes, which is all
that the checks depend on. beartype alone checks the other functions, at a tenth of the cost.
"""

import inspect
from dataclasses import is_dataclass
from functools import partial, wraps
from typing import get_args

import jaxtyping
import numpy as np
import torch
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
    if not _needs_axes(decorated):
        return _unless_disabled(decorated, typechecker)
    if not inspect.isfunction(decorated) or _depends_on_values(decorated):
        return _jaxtyped(decorated, typechecker=typechecker)
    return _once_for_each_form(decorated, typechecker)


def _unless_disabled(function, typechecker):
    """The function with its checks, which `jaxtyping_disable` turns off as it does those of jaxtyping."""
    checking = typechecker(function)

    @wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        return (function if jaxtyping.config.jaxtyping_disable else checking)(*args, **kwargs)

    return function if checking is function else call


def _once_for_each_form(function, typechecker):
    """The function with jaxtyping's checks, made once for all calls whose arguments and results have the same form."""
    checking = _jaxtyped(function, typechecker=typechecker)
    results = []  # of the calls that are being checked, the innermost last

    @wraps(function)
    def returned(*args, **kwargs):
        return results[-1]

    checking_result = _jaxtyped(returned, typechecker=typechecker)
    passed = {}  # form of the arguments -> forms of the results

    @wraps(function)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable or torch.compiler.is_compiling():
            return checking(*args, **kwargs)
        form = _form((args, kwargs))
        if form not in passed:
            result = checking(*args, **kwargs)
            passed[form] = {_form(result)}
            return result
        result = function(*args, **kwargs)
        if (form_of_result := _form(result)) not in passed[form]:
            results.append(result)
            try:
                checking_result(*args, **kwargs)
            finally:
                results.pop()
            passed[form].add(form_of_result)
        return result

    return call


def _form(value):
    """All of a value that an annotation may depend on: types, dtypes and shapes, and the values of strings."""
    kind = type(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return kind, value.dtype, tuple(value.shape)
    if isinstance(value, str | bool) or inspect.isclass(value):  # a Literal, a flag, a type of errors
        return kind, value
    if isinstance(value, tuple | list | set | frozenset):
        return kind, tuple(map(_form, value))
    if isinstance(value, dict):
        return kind, tuple((_form(key), _form(one)) for key, one in value.items())
    return kind


def _depends_on_values(function):
    """Whether an axis is computed from arguments (`{self.k}`), so that calls of one form may differ."""
    return any("{" in str(annotation) for annotation in function.__annotations__.values())


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
