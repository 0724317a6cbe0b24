"""Union-find: what is linked, directly or through others, belongs together."""

from __future__ import annotations


class Links:
    """`count` items, none linked at first."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        """The item that stands for all that `item` is linked to."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: int, other: int) -> bool:
        """Link two items; False where they already were."""
        first, second = self.root(one), self.root(other)
        self._parent[first] = second
        return first != second

    def clusters(self) -> list[list[int]]:
        """All items by what they are linked to, in the order of their first members."""
        members: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            members.setdefault(self.root(item), []).append(item)
        return list(members.values())
