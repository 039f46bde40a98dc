from lrisc.stopwatch import Stopwatch, part


def test_parts_add_up_and_only_while_it_runs() -> None:
    with part("before"):
        pass
    with Stopwatch() as watch:
        for _ in range(2):
            with part("outer"), part("inner"):
                pass
        with Stopwatch() as other, part("elsewhere"):
            pass
        with part("last"):
            pass
    with part("after"):
        pass
    assert list(watch.seconds) == ["inner", "outer", "last"]
    assert list(other.seconds) == ["elsewhere"]
    assert all(seconds >= 0 for seconds in watch.seconds.values())
