"""Categories of a COCO file that is written have ids that stay."""

from __future__ import annotations

from ovps_core.datasets.coco_categories import CategoryTable


def test_categories_without_objects_and_parts_keep_their_ids() -> None:
    foreign = [{"id": 9, "name": "cup"}, {"id": 4, "name": "lid"}, {"id": "x", "name": "pan"}]
    table = CategoryTable(foreign)
    assert [table.id_of("mug", part) for part in ("", "handle", "")] == [10, 11, 10]
    assert table.entries == [
        *foreign,
        {"id": 10, "name": "mug", "object": "mug", "part": ""},
        {"id": 11, "name": "mug handle", "object": "mug", "part": "handle"},
    ]
