"""One thread inside, as many as before outside, in every library that has any."""

from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from transferkit.compute.blas import one_thread


def threads() -> dict[str, int]:
    return {row["filepath"]: row["num_threads"] for row in threadpool_info()}


def test_no_library_has_more_than_one_thread_inside_and_all_have_theirs_again() -> None:
    with one_thread():  # the libraries are there from now on
        pass
    with threadpool_limits(2):
        before = threads()
        with one_thread(None):
            assert set(threads().values()) == {1}
        assert threads() == before
        with one_thread():
            inside = {row["user_api"]: row["num_threads"] for row in threadpool_info()}
        assert inside["blas"] == 1
        assert threads() == before
