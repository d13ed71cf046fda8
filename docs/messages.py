"""The messages that annolake can print, found in its code: errors, reasons in a report, events of the log.

Owns how they are found: an error's text is read where the error is made, through names, conditions and functions.
"""  # noqa: INP001 - a script's module, no package

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

from annolake import errors

_PACKAGE = Path(errors.__file__).parent

HOLE = "…"
"""Stands for what is filled in."""

PARTIAL, PART, FINDING, EVENT = "3", "part", "finding", "event"
"""Kinds of messages that are no errors: reasons in a report, parts of others, findings of verify, events of the log."""

_LEVELS = ("info", "warning", "error")
_LEAST_WORDS = 3

# Where sentences are made that no error is raised with: functions by their name and what their sentences are.
_SAYING = {
    "reasons": PARTIAL,
    "doubt": PARTIAL,
    "shortcomings": PARTIAL,
    "_shortcomings_of": PARTIAL,
    "refusals": PARTIAL,
    "_not_shown": PARTIAL,
    "_rules": PART,
    "_told_by": PART,
    "_loss_in_words": FINDING,
}
_RETURNING = {"_unknown": "2", "_by_program": "130"}  # only what they return
_YIELDING = ("annolake.load.audit", "annolake.load.table.counts")  # findings
_LISTS = {"because": PARTIAL, "reasons": PARTIAL, "problems": "2"}  # to which sentences are appended
_TABLES = ("_FAULTS", "_UNCONNECTED", "_CREDENTIALS", "_ADVICE")  # dicts of sentences
_CONSTANTS = {"DID_NOT_FINISH": PART}


# Errors that are made with a sentence from elsewhere: argparse's, or one that is found where it stands.
_READ_ELSEWHERE = {
    "annolake.arguments: UsageError(self.format_usage(), f'{self.prog}: error: {message}')",
    "annolake.config: ConfigError('\\n'.join(problems))",
    "annolake.extract.http.exchange: Fault(reason)",
    "annolake.extract.http.exchange: Fault(reason, advice=_OF_THE_PROXY)",
}


@dataclass
class _Module:
    """A module's tree, its constants and functions by name, and where the names that it imports come from."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Message:
    """A message: its kind (an exit code, or one of those above), its text, and for an event its level and its facts."""

    kind: str
    text: str
    level: str = ""
    facts: tuple[str, ...] = ()


@cache
def found() -> tuple[list[Message], list[str]]:
    """Return every message, each once, in the order of their text, and where one is made that cannot be read."""
    modules = {module.name: module for module in map(_module, sorted(_PACKAGE.rglob("*.py"))) if module}
    classes = _error_classes(modules.values())
    finders = [_Finder(module, modules, classes) for module in modules.values()]
    messages = sorted({message for finder in finders for message in finder.found()})
    unread = {place for finder in finders for place in finder.unread}
    return messages, sorted(unread - _READ_ELSEWHERE)


def _module(path: Path) -> _Module | None:
    parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
    if "sandbox" in parts:  # the stand-in for the service
        return None
    return _read(".".join(parts).removesuffix(".__init__"), path.read_text())


def _read(name: str, text: str) -> _Module:
    module = _Module(name, ast.parse(text))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            module.constants[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom) and node.module:
            module.imports |= {alias.asname or alias.name: node.module for alias in node.names}
    for each in ast.walk(module.tree):
        if isinstance(each, ast.FunctionDef):
            module.functions[each.name] = each
    return module


def _error_classes(modules: Iterable[_Module]) -> Mapping[str, str]:
    """Return the exit code of each class of errors by its name, as text."""
    codes = {
        name: str(kind.exit_code)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.AnnolakeError)
    }
    codes |= {"InterruptedExport": "130", "Fault": PART}
    codes.pop("AnnolakeError")
    defined = [node for module in modules for node in module.tree.body if isinstance(node, ast.ClassDef)]
    for _ in range(3):  # of each, its base is perhaps found later
        for node in defined:
            base = node.bases[0] if node.bases else None
            if isinstance(base, ast.Name) and base.id in codes:
                codes.setdefault(node.name, codes[base.id])
    return codes


class _Finder:
    """Finds the messages of a module."""

    def __init__(self, module: _Module, modules: Mapping[str, _Module], classes: Mapping[str, str]) -> None:
        self._module, self._modules, self._classes = module, modules, classes
        self.unread: list[str] = []  # errors whose message is not known from where they are made

    def found(self) -> Iterator[Message]:
        """Yield each message, some more than once."""
        for name, value in self._module.constants.items():
            if name in _TABLES and isinstance(value, ast.Dict):
                yield from self._all(PART, value.values)
            if name in _CONSTANTS:
                yield from self._all(_CONSTANTS[name], [value])
        yield from self._within(self._module.tree, None, None)

    def _within(self, node: ast.AST, function: ast.FunctionDef | None, owner: str | None) -> Iterator[Message]:
        if isinstance(node, ast.ClassDef):
            owner = node.name
        if isinstance(node, ast.FunctionDef):
            function = node
            if node.name in _SAYING:
                yield from self._sentences(node, _SAYING[node.name])
        if isinstance(node, ast.Return) and node.value and function and function.name in _RETURNING:
            yield from self._all(_RETURNING[function.name], [node.value], function)
        if isinstance(node, ast.Yield) and node.value and self._module.name in _YIELDING:
            yield from self._all(FINDING, [node.value], function)
        if isinstance(node, ast.Call):
            yield from self._of_call(node, function, owner)
        if isinstance(node, ast.Tuple) and len(node.elts) > 1:  # a class of errors beside its sentence
            yield from self._all(self._code(node.elts[0], None), node.elts[1:2])
        for child in ast.iter_child_nodes(node):
            yield from self._within(child, function, owner)

    def _of_call(self, call: ast.Call, function: ast.FunctionDef | None, owner: str | None) -> Iterator[Message]:
        called, first = call.func, call.args[:1]
        if code := self._code(called, function):
            if first and not self._texts(first[0], function) and code != self._classes["InterruptedExport"]:
                self.unread.append(f"{self._module.name}: {ast.unparse(call)}")
            yield from self._all(code, first, function)
        if isinstance(called, ast.Name) and called.id == "Remark":
            yield from self._all(FINDING, call.args[1:2], function)
        if not isinstance(called, ast.Attribute):
            return
        on = ast.unparse(called.value)
        if called.attr == "__init__" and on == "super()" and owner in self._classes:
            yield from self._all(self._classes[str(owner)], first, function)
        elif called.attr == "append" and (kind := _LISTS.get(on.rpartition(".")[2])):
            yield from self._all(kind, first, function)
        elif called.attr == "error" and on == "parser":
            yield from self._all("2", first, function)
        elif called.attr in _LEVELS and on.endswith("log"):
            facts = tuple(fact for each in call.keywords for fact in self._facts(each, function))
            for text in self._texts(first[0], function):
                yield Message(EVENT, text, called.attr, facts)

    def _facts(self, keyword: ast.keyword, function: ast.FunctionDef | None) -> Iterator[str]:
        """Yield the names of an event's facts, also of those that are handed over as a dict."""
        if keyword.arg:
            yield keyword.arg
        elif isinstance(keyword.value, ast.Name) and function:
            for value in _assigned(function, keyword.value.id):
                keys = value.keys if isinstance(value, ast.Dict) else []
                if isinstance(value, ast.DictComp) and isinstance(value.generators[0].iter, ast.Tuple):
                    keys = [*value.generators[0].iter.elts]
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))

    def _code(self, called: ast.expr, function: ast.FunctionDef | None) -> str | None:
        """Return the exit code of the errors that a call makes, None where it makes none."""
        if isinstance(called, ast.IfExp):
            return self._code(called.body, function) or self._code(called.orelse, function)
        if isinstance(called, ast.Name) and called.id not in self._classes and function:
            codes = (self._code(value, None) for value in _assigned(function, called.id))
            return next(filter(None, codes), None)
        return self._classes.get(called.id) if isinstance(called, ast.Name) else None

    def _sentences(self, function: ast.FunctionDef, kind: str) -> Iterator[Message]:
        """Yield the sentences of a function whose name says that it makes some."""
        outer = [node for node in ast.walk(function) if isinstance(node, ast.JoinedStr | ast.Compare | ast.Subscript)]
        inner = {id(part) for node in outer for part in ast.walk(node) if part is not node}
        for node in ast.walk(ast.Module(function.body[1:], [])):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner:
                yield from self._all(kind, [node], function)

    def _all(
        self, kind: str | None, values: Iterable[ast.expr], function: ast.FunctionDef | None = None
    ) -> Iterator[Message]:
        for value in values if kind else ():
            for text in self._texts(value, function):
                words = re.findall(r"[A-Za-z]{2,}", text)
                is_error = kind not in {PARTIAL, PART, FINDING}
                if len(words) >= (1 if is_error else _LEAST_WORDS) and not text.startswith(","):
                    yield Message(str(kind), re.sub(r"\s+", " ", text).strip())

    def _texts(self, value: ast.expr, function: ast.FunctionDef | None) -> list[str]:
        """Return what an expression can be, holes for what is filled in; nothing where that is not known."""
        texts: Iterable[str] = []
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            texts = [re.sub(r"\{[^}]*\}", HOLE, value.value)]
        elif isinstance(value, ast.JoinedStr):
            parts = [self._texts(part, function) for part in value.values]
            texts = map("".join, product(*(part or [HOLE] for part in parts)))
        elif isinstance(value, ast.FormattedValue):
            names_a_constant = isinstance(value.value, ast.Name) and value.value.id.isupper()
            texts = self._texts(value.value, function) if names_a_constant else []
        elif isinstance(value, ast.BinOp):
            left, right = self._texts(value.left, function), self._texts(value.right, function)
            texts = map("".join, product(left or [HOLE], right or [HOLE]))
        elif isinstance(value, ast.IfExp):
            texts = self._texts(value.body, function) + self._texts(value.orelse, function)
        elif isinstance(value, ast.Name):
            texts = self._named(value.id, function)
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            made = self._module.functions.get(value.func.id) or self._elsewhere(value.func.id).functions.get(
                value.func.id
            )
            returned = [node.value for node in ast.walk(made) if isinstance(node, ast.Return)] if made else []
            texts = [text for each in returned if each for text in self._texts(each, made)]
        return [*texts]

    def _named(self, name: str, function: ast.FunctionDef | None) -> list[str]:
        values = _assigned(function, name) if function else []
        if not values and name in self._module.constants:
            values = [self._module.constants[name]]
        if values:
            return [text for value in values for text in self._texts(value, function)]
        other = self._elsewhere(name)
        known = name in other.constants
        return _Finder(other, self._modules, self._classes)._named(name, None) if known else []  # noqa: SLF001

    def _elsewhere(self, name: str) -> _Module:
        """Return the module that a name is imported from, an empty one where that is none of annolake."""
        return self._modules.get(self._module.imports.get(name, ""), _Module("", ast.Module([], [])))


def _assigned(function: ast.FunctionDef, name: str) -> list[ast.expr]:
    """Return what a function gives a name of its own."""
    return _assignments(function).get(name, [])


@cache
def _assignments(function: ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = [*zip(target.elts, node.value.elts, strict=False)]
                for to, made in pairs:
                    if isinstance(to, ast.Name):
                        found.setdefault(to.id, []).append(made)
    return found
