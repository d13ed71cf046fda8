"""The messages of errors that are not retried: one for each status, and for failures without a status.

Owns these sentences and the class of each error. None of them holds anything of an answer but its status.
"""

from collections.abc import Mapping
from typing import Any

from annolake.errors import GoneError, NotFoundError, RefusedError, ServiceError, TooLargeError

Refusal = tuple[type[ServiceError], str]

REFUSED: Refusal = (RefusedError, "{host} refused the request to {endpoint} ({status}): check [source]")
REFUSALS: Mapping[int, Refusal] = {
    401: (RefusedError, "{host} refused the key (401) at {endpoint}: check {key}{regions}"),
    403: (RefusedError, "{host} denies the key access (403) to {endpoint}: check {key} and source.tenant_id"),
    404: (NotFoundError, "{host} has no {endpoint} (404), or not for this key: check the queue's id and {key}"),
    407: (RefusedError, "the proxy before {host} wants a name and a password (407): check HTTPS_PROXY and HTTP_PROXY"),
    410: (GoneError, '{host} has retired {endpoint} (410): set source.endpoint to "auto" or "items"'),
    501: (
        RefusedError,
        """\
{host} does not serve {endpoint} (501), which exports over items need: update the service, or set source.endpoint to
"runs" while it has that""",
    ),
    422: (RefusedError, "{host} did not accept the parameters (422) of {endpoint}: check [source], or update annolake"),
}
REDIRECTED: Refusal = (RefusedError, "{host} redirects {endpoint} {what}: check source.base_url ({origin})")
UNTRUSTED: Refusal = (
    RefusedError,
    """\
{host} has a certificate that cannot be verified{what}: set SSL_CERT_FILE to a file with the certificate of its
issuer, or check source.base_url ({origin})""",
)
OVERSIZE: Refusal = (
    TooLargeError,
    """\
the answer of {host} to {endpoint} is larger than source.max_response_mb ({what} MB): set it higher, if there is memory
for that""",
)


def refusal(said: Refusal, *, attempts: int, **facts: Any) -> ServiceError:
    """Return the error of a refusal; `facts` has the status, the endpoint and what else its sentence tells."""
    kind, sentence = said
    message = sentence.replace("\n", " ").format(**{"regions": "", **facts})
    return kind(message, status=facts["status"], endpoint=facts["endpoint"], attempts=attempts)
