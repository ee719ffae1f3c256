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


def test_weights_count_and_what_is_too_heavy_is_not_kept() -> None:
    contents: BoundedCache[str] = BoundedCache(10)
    owner = object()
    contents.keep(owner, "a", "A", 4)
    contents.keep(owner, "b", "B", 4)
    contents.keep(owner, "c", "C", 4)
    assert [contents.get(owner, key) for key in "abc"] == [None, "B", "C"]
    assert contents.pop(owner, "b") == "B"
    assert contents.pop(owner, "b") is None
    contents.keep(owner, "d", "D", 6)
    assert [contents.get(owner, key) for key in "cd"] == ["C", "D"]
    contents.keep(owner, "e", "E", 11)
    assert len(contents) == 0
