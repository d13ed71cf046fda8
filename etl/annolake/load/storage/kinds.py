"""The kinds of object stores: what each calls its grants, its credentials and its largest folder.

Owns words only. Nothing here knows obstore.
"""

from collections.abc import Mapping

import msgspec

_STEPS = {
    "read": "read",
    "list": "list",
    "look for": "read",
    "write": "write",
    "lock": "write",
    "remove": "remove",
} | dict.fromkeys(("make the table", "commit to", "add columns to"), "write")


class StoreKind(msgspec.Struct, frozen=True):
    """One kind of object store.

    `scheme` begins its addresses, `extra` is annolake's that brings its client; `grants` are by what is done: "read",
    "list", "write", "remove". `variables` are those of the environment that set an option, later ones above earlier.
    """

    scheme: str
    extra: str
    container: str
    grants: Mapping[str, str]
    credentials: str
    region: str
    variables: Mapping[str, str]
    prefixes: tuple[str, ...]

    def grant(self, verb: str) -> str:
        """Return the name of what has to be granted for a verb; of a verb that is unknown, all of them."""
        step = _STEPS.get(verb)
        return self.grants[step] if step else ", ".join(dict.fromkeys(self.grants.values()))


S3 = StoreKind(
    scheme="s3",
    extra="s3",
    container="bucket",
    grants={
        "read": "s3:GetObject, and s3:ListBucket, without which a missing object is refused too",
        "list": "s3:ListBucket",
        "write": "s3:PutObject",
        "remove": "s3:DeleteObject",
    },
    credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    region="AWS_REGION",
    variables={
        "AWS_ACCESS_KEY_ID": "access_key_id",
        "AWS_SECRET_ACCESS_KEY": "secret_access_key",
        "AWS_SESSION_TOKEN": "session_token",
        "AWS_DEFAULT_REGION": "region",
        "AWS_REGION": "region",
        "AWS_ENDPOINT": "endpoint",
        "AWS_ENDPOINT_URL": "endpoint",
        "AWS_ENDPOINT_URL_S3": "endpoint",
        "AWS_ALLOW_HTTP": "allow_http",
    },
    prefixes=("aws_",),
)
GCS = StoreKind(
    scheme="gs",
    extra="gcs",
    container="bucket",
    grants={
        "read": "storage.objects.get",
        "list": "storage.objects.list",
        "write": "storage.objects.create and storage.objects.delete (to replace an object)",
        "remove": "storage.objects.delete",
    },
    credentials="GOOGLE_APPLICATION_CREDENTIALS",
    region="the bucket's name",
    variables={"GOOGLE_APPLICATION_CREDENTIALS": "application_credentials"},
    prefixes=("google_",),
)
AZURE = StoreKind(
    scheme="az",
    extra="azure",
    container="container",
    grants=dict.fromkeys(("read", "list", "write", "remove"), "the role Storage Blob Data Contributor"),
    credentials="AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    region="AZURE_STORAGE_ACCOUNT_NAME",
    variables={
        "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
        "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
        "AZURE_STORAGE_SAS_KEY": "sas_key",
        "AZURE_STORAGE_ENDPOINT": "endpoint",
        "AZURE_STORAGE_USE_EMULATOR": "use_emulator",
        "AZURE_ALLOW_HTTP": "allow_http",
    },
    prefixes=("azure_storage_", "azure_"),
)
KINDS = {kind.scheme: kind for kind in (S3, GCS, AZURE)}
