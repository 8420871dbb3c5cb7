"""The cache that keeps the entries used last."""

from vyry.kernel.lru_cache import LruCache


def test_the_entry_used_least_recently_is_evicted() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)

    assert cache.get("a") == 1
    cache.put("c", 3)

    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert (list(cache), len(cache)) == (["a", "c"], 2)


def test_entries_may_have_a_weight() -> None:
    cache: LruCache[str, bytes] = LruCache(10, len)
    for key in "abc":
        cache.put(key, bytes(4))

    assert (list(cache), cache.weight) == (["b", "c"], 8)

    cache.put("b", bytes(6))
    assert (list(cache), cache.weight) == (["c", "b"], 10)
    assert (cache.pop("b"), cache.pop("b"), cache.weight) == (bytes(6), None, 4)


def test_an_entry_that_is_too_heavy_leaves_nothing() -> None:
    cache: LruCache[str, bytes] = LruCache(3, len)
    cache.put("a", bytes(4))

    assert (list(cache), cache.weight) == ([], 0)
