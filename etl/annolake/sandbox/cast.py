"""Who and what appears in a queue's rows: reviewers, projects, models, words; all of it from the seed.

Owns identities and vocabulary. It never writes a row.
"""

import random
import re
from dataclasses import dataclass
from typing import Literal

Stage = Literal["waiting", "mine", "theirs", "archived"]
"""How far a row's review is: nobody's, done by the key's owner, done by another, met the queue's rule."""

WORDS = re.findall(
    r"[a-z]+",
    """
    order invoice parcel refund customer account balance address number today tomorrow yesterday morning
    week please thanks hello sorry could would should might never always often again before after
    because although the a an of to in on for with from by about into over under between without this
    that these those which who ship shipped delivered arrived missing damaged wrong right broken
    repaired replaced returned received sent price discount voucher payment card transfer bank receipt
    tax total amount charge charged fee month year email phone letter message answer question reply note
    reminder meeting appointment visit call support team check update cancel confirm change request open
    close start stop wait help find show tell write read know device screen battery cable printer router
    password login error version update install download page link garden kitchen window door table
    chair lamp paper bottle coffee tea bread apple orange river mountain train blue green small large
    heavy light early late fast slow cheap dear good better best bad worse simple plain is was will be
    been has have had do does did can may must not no yes we you they he she it our your their
    """,
)

NAMES = ("Ada Moreau", "Björn Lindqvist", "Chiara Conti", "Deniz Öztürk", "Emeka Obi", "Fumiko 佐藤")


@dataclass(frozen=True)
class Model:
    """A priced model; prices in picodollars (1e-12) a token, a cached prompt token costs a quarter."""

    name: str
    provider: str
    prompt: int
    completion: int


MODELS = (
    Model("gpt-4.1-mini", "openai", 400_000, 1_600_000),
    Model("gpt-4.1", "openai", 2_000_000, 8_000_000),
    Model("claude-sonnet-4-5", "anthropic", 3_000_000, 15_000_000),
    Model("gemini-2.5-flash", "google_vertexai", 300_000, 2_500_000),
)


@dataclass(frozen=True)
class Reviewer:
    """A person who reviews."""

    id: str
    name: str
    email: str


@dataclass(frozen=True)
class Cast:
    """The identities of one queue; the first reviewer owns the key."""

    tenant_id: str
    queue_id: str
    name: str
    projects: tuple[str, ...]
    reviewers: tuple[Reviewer, ...]
    dataset_id: str

    @property
    def caller(self) -> Reviewer:
        """The reviewer from whose point of view `status` is answered."""
        return self.reviewers[0]


def cast_of(rng: random.Random, tenant_id: str, reviewers: tuple[Reviewer, ...], name: str) -> Cast:
    """Draw the identities of a queue called `name`."""
    projects = tuple(uuid(rng) for _ in range(3))
    return Cast(tenant_id, uuid(rng), name, projects, reviewers, uuid(rng))


def reviewers_of(rng: random.Random) -> tuple[Reviewer, ...]:
    """Draw the people of a workspace."""
    return tuple(
        Reviewer(uuid(rng), name, f"{name.split()[0].lower().encode('ascii', 'ignore').decode()}@example.com")
        for name in NAMES
    )


def uuid(rng: random.Random) -> str:
    """Draw a random UUID (version 4) in its canonical text form."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def chance(rng: random.Random, share: float) -> bool:
    """Draw whether something happens that happens in that share of all cases."""
    return rng.random() < share


def sentence(rng: random.Random, words: int) -> str:
    """Draw plain text of that many words."""
    return " ".join(rng.choices(WORDS, k=words))


def dollars(picodollars: int) -> str:
    """Write an amount as the service does: a plain decimal without trailing zeros."""
    return f"{picodollars // 10**12}.{picodollars % 10**12:012d}".rstrip("0").rstrip(".")


def dotted_order(started: str, run_id: str) -> str:
    """Write the ordering key of a root run; `started` is its start time, zone left out."""
    digits = "".join(char for char in started if char.isdigit())
    return f"{digits[:8]}T{digits[8:]:0<12}Z{run_id}"
