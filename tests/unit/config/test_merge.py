"""Merging: strong over weak, key by key, in whatever order the merging is done."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mtr.config.merge import Sourced, Tree, list_positions, merge_all, merge_trees
from mtr.config.model import Position

ENDS = st.builds(
    Sourced, st.integers(0, 9), st.builds(Position, st.just(Path("f")), st.integers(1, 9), st.integers(1, 9))
)


def trees(depth: int = 3) -> st.SearchStrategy[Tree]:
    """Trees in which a name always has the same kind of value, as in valid files."""
    parts = {"value": ENDS, "other": ENDS, "adds": st.lists(ENDS, max_size=3).map(tuple)}
    if depth:
        parts |= {"inner": trees(depth - 1), "exclude": trees(depth - 1)}
    return st.fixed_dictionaries({}, optional=parts).flatmap(lambda tree: st.permutations(list(tree.items())).map(dict))


@given(trees(), trees(), trees())
def test_merging_is_associative(a: Tree, b: Tree, c: Tree):
    """Three files give the same tree, in the same order of keys, whichever two are merged first."""
    left, right = merge_trees(merge_trees(a, b), c), merge_trees(a, merge_trees(b, c))
    assert left == right
    assert repr(left) == repr(right)


@given(trees(), trees())
def test_strong_wins_and_nothing_is_lost(weak: Tree, strong: Tree):
    """Every value of the stronger tree is in the result, and every key of either; the inputs stay as they are."""
    before = repr((weak, strong))
    merged = merge_trees(weak, strong)
    assert set(merged) == set(weak) | set(strong)
    assert all(merged[key] == value for key, value in strong.items() if isinstance(value, Sourced))
    assert list(merged)[: len(strong)] == list(strong)
    assert repr((weak, strong)) == before


@given(trees())
def test_an_empty_file_changes_nothing(tree: Tree):
    """Merging with an empty tree, on either side, gives the tree itself."""
    assert merge_trees({}, tree) == merge_trees(tree, {}) == merge_all([{}, tree, {}]) == tree


@given(trees(), trees())
def test_lists_that_add_up_keep_weak_first(weak: Tree, strong: Tree):
    """A list that adds up holds the weak file's entries, then the strong one's."""
    merged = merge_trees(weak, strong)
    assert merged.get("adds", ()) == weak.get("adds", ()) + strong.get("adds", ())  # type: ignore[operator]


def test_positions_of_all_ends():
    """Every value that was written has its place, list entries by index; what is built in has none."""
    at = Position(Path("f"), 1, 2)
    tree: Tree = {"a": {"b": Sourced(1, at)}, "c": (Sourced(1), Sourced(2, at)), "d": Sourced(3)}
    assert dict(list_positions(tree)) == {("a", "b"): at, ("c", 1): at}
