"""What an object store's refusal means to an operator, in words.

Owns the reading of a foreign exception: its status, the store's code and the kind of a lost connection are looked for
by pattern, and nothing of its text gets out.
"""

import re

from annolake.errors import LakeError
from annolake.load.storage.files import MissingError
from annolake.load.storage.kinds import StoreKind
from annolake.load.storage.reasons import reason

_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})")
_NO_CREDENTIALS = re.compile(r"169\.254\.169\.254|metadata\.google|MissingCredentials|[Mm]issing credential|no credential")
_NO_CONTAINER = {"NoSuchBucket", "ContainerNotFound"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "IllegalLocationConstraintException"}
_TOO_OFTEN = {"SlowDown", "ServerBusy", "RequestLimitExceeded"}
_CREDENTIALS = {
    "SignatureDoesNotMatch": "the secret does not belong to the key: correct {credentials}",
    "AuthenticationFailed": "the secret does not belong to the account: correct {credentials}",
    "InvalidAccessKeyId": "the store does not know the key: correct {credentials}",
    "ExpiredToken": "the credentials have expired: renew {credentials}",
    "TokenRefreshRequired": "the credentials have expired: renew {credentials}",
    "InvalidToken": "the session token is wrong: correct {credentials}",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
}
_REFUSED = {401, 403}


def explained(error: Exception, kind: StoreKind, verb: str, path: object) -> LakeError:
    """Return the error as one sentence: what could not be done where, why, and what to do."""
    text = str(error)
    code, status = _code(text), _status(text)
    words = _reason(error, text, code, status, kind, verb)
    missing = isinstance(error, FileNotFoundError) and code not in _NO_CONTAINER
    return (MissingError if missing else LakeError)(f"cannot {verb} {path}: {words}")


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""


def _status(text: str) -> int:
    found = _STATUS.search(text)
    return int(found[1] or found[2]) if found else 0


def _reason(error: Exception, text: str, code: str, status: int, kind: StoreKind, verb: str) -> str:
    if code in _NO_CONTAINER:
        return f"there is no such {kind.container}: make it, or correct lake.path"
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if code in _ELSEWHERE or "incorrectly configured region" in text:
        return f"the {kind.container} is elsewhere: correct {kind.region}"
    if _NO_CREDENTIALS.search(text):
        return f"no credentials were found: set {kind.credentials}, or run it where a role is given to the machine"
    if code in _CREDENTIALS:
        return _CREDENTIALS[code].format(credentials=kind.credentials)
    if status in _REFUSED:
        return f"these credentials are not allowed to: grant {kind.grant(verb)}"
    if isinstance(error, NotImplementedError) or code == "NotImplemented" or status == 501:
        return "the store does not know this request: it cannot hold a lake"
    return _no_answer(error, text, code, status)


def _no_answer(error: Exception, text: str, code: str, status: int) -> str:
    if code in _TOO_OFTEN or status == 429:
        return "the store asks for fewer requests: run again later"
    if status >= 500:
        return f"the store answered with status {status} each time: run again later"
    if status:
        return f"the store answered with status {status}: see whether the endpoint speaks this protocol"
    if isinstance(error, OSError) and error.errno is not None:
        return reason(error)
    if "dns error" in text:
        return "the name of the store's host is not known here: correct the endpoint"
    if "kind: Timeout" in text or "operation timed out" in text:
        return "the store did not answer in time: see whether it can be reached from here, then run again"
    if "InvalidContentType" in text or "certificate" in text:
        return "the endpoint has no https that this machine trusts: correct the endpoint"
    return "there is no connection to the store: see whether the endpoint is right and can be reached from here"
