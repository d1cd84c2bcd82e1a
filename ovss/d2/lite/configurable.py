"""A decorator that lets a class or function be called with plain arguments or with a config. Imports fvcore only.

The class keeps plain keyword arguments and a classmethod `from_config(cfg, ...)` that turns a config into them, so that
only `from_config` ever reads a config.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fvcore.common.config import CfgNode


def configurable(init_func: Callable | None = None, *, from_config: Callable | None = None) -> Callable:
    """Decorate `__init__` of a class with a classmethod `from_config`, or a function: `@configurable(from_config=f)`.

    A call whose first argument, or argument `cfg`, is a CfgNode passes through `from_config`; keyword arguments that
    `from_config` does not take go on to the decorated function, over what `from_config` returned.

    Raises:
        TypeError: the decorator or `from_config` has the wrong form.
    """
    if init_func is not None:
        if from_config is not None or getattr(init_func, "__name__", "") != "__init__":
            raise TypeError(f"@configurable decorates __init__; for {init_func!r} write @configurable(from_config=...)")
        return _configurable_init(init_func)
    if from_config is None:
        return configurable
    return functools.partial(_configurable_function, from_config=from_config)


def _configurable_init(init_func: Callable) -> Callable:
    @functools.wraps(init_func)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if not _has_cfg(args, kwargs):
            init_func(self, *args, **kwargs)
            return
        from_config = getattr(type(self), "from_config", None)
        if not inspect.ismethod(from_config):
            raise TypeError(f"{type(self).__name__} is configurable and needs a classmethod from_config(cfg, ...)")
        init_func(self, **_arguments(from_config, args, kwargs))

    return wrapped


def _configurable_function(function: Callable, *, from_config: Callable) -> Callable:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not _has_cfg(args, kwargs):
            return function(*args, **kwargs)
        return function(**_arguments(from_config, args, kwargs))

    return wrapped


def _has_cfg(args: tuple, kwargs: dict[str, Any]) -> bool:
    return isinstance(args[0] if args else kwargs.get("cfg"), CfgNode)


def _arguments(from_config: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the decorated function for a call with a config."""
    parameters = inspect.signature(from_config).parameters
    if next(iter(parameters), None) != "cfg":
        raise TypeError(f"the first argument of {from_config.__qualname__} must be named cfg, not {[*parameters][:1]}")
    kinds = {parameter.kind for parameter in parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return from_config(*args, **kwargs)
    own = {name: value for name, value in kwargs.items() if name in parameters}
    rest = {name: value for name, value in kwargs.items() if name not in parameters}
    return {**from_config(*args, **own), **rest}
