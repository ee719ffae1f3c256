"""What a host keeps in mind does not grow with its sessions."""

from wa_session_host.sessions.tracked_message import BoundedCache


def test_the_oldest_of_all_owners_are_forgotten() -> None:
    recent: BoundedCache[int] = BoundedCache(3)
    one, other = object(), object()
    for number in range(3):
        recent.keep(one, f"{number}", number)
    recent.keep(one, "0", 10)  # the newest again
    recent.keep(other, "1", 20)
    assert len(recent) == 3
    assert [recent.get(one, key) for key in "012"] == [10, None, 2]
    assert [recent.get(other, key) for key in "012"] == [None, 20, None]
