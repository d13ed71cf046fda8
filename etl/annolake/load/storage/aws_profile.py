"""Credentials of a profile in ~/.aws, by the library of which they are: keys, assumed roles, single sign-on."""

from datetime import timedelta
from typing import Any

from boto3.session import Session
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from obstore.auth.boto3 import Boto3CredentialProvider

from annolake.errors import LakeError
from annolake.load.storage.store_words import NO_RENEWAL

_LASTS = timedelta(minutes=10)  # what boto3 returns is good for that long; the store's client would assume 30


class ProfileCredentials:
    """What the store's client asks for credentials, again and again; `config` is what the profile says of the store."""

    def __init__(self, session: Session) -> None:
        self._provider = Boto3CredentialProvider(session, ttl=_LASTS)
        self.config = dict(self._provider.config)

    def __call__(self) -> Any:
        """Return credentials that last for a while. Raises LakeError where they cannot be had any more."""
        try:
            return self._provider()
        except (BotoCoreError, ClientError):
            raise LakeError(NO_RENEWAL) from None


def open_profile(name: str | None) -> ProfileCredentials | None:
    """Return what gives the credentials of a profile (None: the default one), None where it has none.

    Raises LakeError where it has some that cannot be had now.
    """
    try:
        session = Session(profile_name=name)
        return ProfileCredentials(session) if session.get_credentials() else None
    except ProfileNotFound:
        return None
    except (BotoCoreError, ClientError):
        raise LakeError(NO_RENEWAL) from None
