"""`annolake verify`: whether the lake keeps its promises, in words or JSON.

Owns how that is said and the exit code. The facts are `load.audit`'s.
"""

import argparse
from collections.abc import Mapping

from annolake.config import Config, load_lake_config
from annolake.errors import LakeError
from annolake.load.audit import verify
from annolake.printable import json_line, printable
from annolake.streams import Streams
from annolake.wiring import open_lake


def run(arguments: argparse.Namespace, environ: Mapping[str, str], streams: Streams) -> int:
    """Print what is wrong with the lake; return 5 where anything is."""
    told, exit_code = tell_verify(load_lake_config(arguments.config, environ), environ, as_json=arguments.json)
    print(told, file=streams.out)
    return exit_code


def tell_verify(config: Config, environ: Mapping[str, str], *, as_json: bool) -> tuple[str, int]:
    """Read the lake back; return what is wrong with it, and the exit code: 5 where anything is.

    Raises LakeError where there is no lake.
    """
    lake = open_lake(config, environ)
    if not lake.is_there():
        raise LakeError(f"{config.lake.path}: there is no lake; check lake.path, or run an export first")
    remarks = list(verify(lake))
    harmless = [remark.harmless for remark in remarks]
    exit_code = 0 if all(harmless) else LakeError.exit_code
    if as_json:
        told = [{"path": str(remark.path), "what": remark.what} for remark in remarks]
        findings, passed_over = (
            [one for one, is_so in zip(told, harmless, strict=True) if is_so is which] for which in (False, True)
        )
        return json_line({"exit_code": exit_code, "findings": findings, "passed_over": passed_over}), exit_code
    lines = [printable(f"{remark.path}: {remark.what}") for remark in remarks]
    if not exit_code:
        lines.append(f"{config.lake.path}: no problem found: each row once, each file intact")
    return "\n".join(lines), exit_code
