"""Credentials of a profile in ~/.aws, by the library of which they are: keys, assumed roles, single sign-on."""

from boto3.session import Session
from botocore.exceptions import BotoCoreError
from obstore.auth.boto3 import Boto3CredentialProvider


def open_profile(name: str | None) -> Boto3CredentialProvider | None:
    """Return what gives the credentials of a profile (None: the default one), None where it has none."""
    try:
        session = Session(profile_name=name)
        return Boto3CredentialProvider(session) if session.get_credentials() else None
    except BotoCoreError:
        return None
