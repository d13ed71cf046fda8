"""Who is next where more requests wait than may be under way."""

from threading import Event, Thread

import pytest

from annolake.extract.http.slots import Slots


def test_who_waits_longest_is_next() -> None:
    """Whoever gives a slot back and wants one again is behind those who waited already."""
    slots, came, turns = Slots(1), [Event() for _ in range(3)], []

    def want(name: int) -> None:
        came[name].set()
        with slots:
            turns.append(name)

    threads = [Thread(target=want, args=(name,)) for name in range(3)]
    with slots:
        for name, thread in enumerate(threads):
            thread.start()
            came[name].wait()
            while len(slots._waiting) <= name:
                pass
    with slots:
        turns.append(3)
    for thread in threads:
        thread.join()

    assert turns == [0, 1, 2, 3]


def test_as_many_as_there_are_slots_are_under_way() -> None:
    """No more, and a slot is given back by an error, too."""
    slots = Slots(2)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), slots, slots:
            1 / 0  # noqa: B018
    with slots, slots:
        waiting = Thread(target=slots.__enter__)
        waiting.start()
        while not slots._waiting:
            pass
    waiting.join()
