"""What an object store's refusal means to an operator, in words.

Owns the reading of a foreign exception: its status, the store's code and the kind of a lost connection are looked for
by pattern, and nothing of its text gets out.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from annolake.errors import LakeError
from annolake.load.storage.files import MissingError
from annolake.load.storage.kinds import StoreKind
from annolake.load.storage.reasons import reason

_CODE = re.compile(r"<Code>(\w{1,60})</Code>|\(code: (\w{1,60})\)")
_STATUS = re.compile(r"status code: (\d{3})|status: (\d{3})")
_NO_CREDENTIALS = re.compile(
    r"169\.254\.169\.254|/latest/api/token|metadata\.google|MissingCredentials|[Mm]issing credential|no credential"
)
NO_RENEWAL = "the credentials of the AWS profile cannot be renewed: sign in again (aws sso login), then run again"

_NO_CONTAINER = {"NoSuchBucket", "ContainerNotFound"}
_ELSEWHERE = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
}
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
_TOO_MANY, _NOT_IMPLEMENTED, _FAILED = 429, 501, 500
_REFUSED = {401, 403, "AccessDenied", "AuthorizationPermissionMismatch", "AuthorizationFailure"}


class _Seen(NamedTuple):
    """A foreign exception: its text, the store's code ("" for none) and the HTTP status (0 for none)."""

    error: Exception
    text: str
    code: str
    status: int

    @property
    def missing(self) -> bool:
        """Whether there is no such object."""
        return isinstance(self.error, FileNotFoundError) and self.code not in _NO_CONTAINER


def explained(error: Exception, kind: StoreKind, verb: str, path: object) -> LakeError:
    """Return the error as one sentence: what could not be done where, why, and what to do."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    seen = _Seen(error, text, (code[1] or code[2]) if code else "", int(status[1] or status[2]) if status else 0)
    words = next(words for applies, words in _rules(seen, kind, verb) if applies)
    return (MissingError if seen.missing else LakeError)(f"cannot {verb} {path}: {words}")


def _rules(seen: _Seen, kind: StoreKind, verb: str) -> Iterator[tuple[bool, str]]:
    """Yield conditions and what they mean; the first that applies counts."""
    error, text, code, status = seen
    yield seen.missing, "there is no such file or folder"
    yield code in _NO_CONTAINER, f"there is no such {kind.container}: make it, or correct lake.path"
    elsewhere = code in _ELSEWHERE or "incorrectly configured region" in text
    yield elsewhere, f"the {kind.container} is elsewhere: correct {kind.region}"
    nobody = f"no credentials were found: set {kind.credentials}, or run it where a role is given to the machine"
    yield NO_RENEWAL in text, NO_RENEWAL
    yield bool(_NO_CREDENTIALS.search(text)), nobody
    yield code in _CREDENTIALS, _CREDENTIALS.get(code, "").format(credentials=kind.credentials)
    yield bool({status, code} & _REFUSED), f"these credentials are not allowed to: grant {kind.grant(verb)}"
    unknown = isinstance(error, NotImplementedError) or code == "NotImplemented" or status == _NOT_IMPLEMENTED
    yield unknown, "the store does not know this request: it cannot hold a lake"
    yield code in _TOO_OFTEN or status == _TOO_MANY, "the store asks for fewer requests: run again later"
    yield status >= _FAILED, f"the store answered with status {status} each time: run again later"
    yield bool(status), f"the store answered with status {status}: see whether the endpoint speaks this protocol"
    if isinstance(error, OSError) and error.errno is not None:
        yield True, reason(error)
    yield "dns error" in text, "the name of the store's host is not known here: correct the endpoint"
    late = "kind: Timeout" in text or "operation timed out" in text
    yield late, "the store did not answer in time: see whether it can be reached from here, then run again"
    untrusted = "InvalidContentType" in text or "certificate" in text
    yield untrusted, "the endpoint has no https that this machine trusts: correct the endpoint"
    yield True, "there is no connection to the store: see whether the endpoint is right and can be reached from here"
