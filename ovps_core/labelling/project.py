"""A data set as a project of Label Studio: pictures and suggested masks go out, people's masks come back."""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovps_core.datasets.coco_categories import CategoryTable, read_id, read_phrase, unused_ids
from ovps_core.datasets.coco_folder import (
    ANNOTATIONS,
    CocoFolder,
    decode_annotation,
    has_mask,
)
from ovps_core.datasets.label_files import read_json
from ovps_core.errors import DatasetError, UsageError
from ovps_core.labelling.merge import Submission, category_name, merge, region_key
from ovps_core.labelling.regions import (
    BRUSH_TAG,
    IMAGE_TAG,
    POLYGON_TAG,
    Region,
    Shape,
    from_results,
    to_results,
)
from ovps_core.labelling.server import Server
from ovps_core.pipeline.drawing import colours, hex_colour
from ovps_core.structures.image_files import image_size
from ovps_core.structures.whole_files import write_json

log = logging.getLogger(__name__)
RECORD = "label_studio.json"
"""File in a data set that names its project."""


@dataclass(frozen=True)
class Project:
    """The project of a data set.

    Attributes:
        url: of the server.
        project: id of the project.
        server: fingerprint of our own server, whose port may change; "" for another one.
    """

    url: str
    project: int
    server: str = ""

    @property
    def page(self) -> str:
        """Address of the project for a browser."""
        return f"{self.url}/projects/{self.project}/data"


def open_project(
    folder: Path, server: Server, *, labels: Sequence[str] = (), shape: Shape = "brush"
) -> Project:
    """Make the project of a data set, or add what is new in the data set to its project.

    Every picture becomes a task, its masks become suggestions. Pictures that have a task already are left alone,
    with the work that people did on them.

    Args:
        folder: pictures with ``annotations.json``, as ``ovps bag extract`` writes it.
        server: a running Label Studio.
        labels: further categories, as phrases of an object and a part: "valve wheel".
        shape: of suggested masks.

    Raises:
        DatasetError: the data set cannot be read, or has no categories.
        UsageError: the server does not answer or refuses the key.
    """
    coco = read_annotations(folder)
    coco = _add_categories(folder, coco, labels)
    names = [category_name(category) for category in coco["categories"]]
    if not names:
        raise DatasetError(
            f"{folder / ANNOTATIONS} has no categories. Name what to label: --labels 'valve wheel' 'valve stem'"
        )
    client = server.client()
    project = recorded_project(folder, server)
    if project is None:
        made = client.projects.create(title=folder.name, label_config=interface(names))
        project = Project(server.url, int(made.id), server.fingerprint)
        write_json(folder / RECORD, asdict(project))
    else:
        client.projects.update(id=project.project, label_config=interface(names))
        write_json(folder / RECORD, asdict(project))
    known = {task.data["file_name"] for task in server.tasks(project.project)}
    images = [image for image in coco["images"] if image["file_name"] not in known]
    masks: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in coco["annotations"]:
        masks[annotation["image_id"]].append(annotation)
    labels_of = dict(zip((c["id"] for c in coco["categories"]), names, strict=True))
    for image in tqdm(images, "upload", unit="picture", disable=None):
        path = picture_path(folder, image["file_name"])
        height, width = image_size(path)
        results = [
            result
            for region in _suggestions(masks[image["id"]], labels_of, height, width, folder)
            for result in to_results(region, shape)
        ]
        model = next((str(a["model"]) for a in masks[image["id"]] if a.get("model")), "ovps")
        task = {
            "data": {
                "image": _upload(server, project, path),
                "image_id": image["id"],
                "file_name": image["file_name"],
            },
            "predictions": [{"model_version": model, "result": results}] if results else [],
        }
        client.projects.import_tasks(id=project.project, request=[task])
    return project


def save_labels(folder: Path, server: Server) -> Counter[str]:
    """Merge the submitted labels of a data set's project into its ``annotations.json``.

    Returns:
        Number of pictures, and of masks by origin.

    Raises:
        DatasetError: the data set has no project, or a label does not fit it.
        UsageError: the server does not answer or refuses the key.
        OutputError: the file cannot be written.
    """
    project = recorded_project(folder, server)
    if project is None:
        raise DatasetError(
            f"{folder} has no project on {server.url}; make one with `ovps label open {folder}`"
        )
    coco = read_annotations(folder)
    submissions = list(_submissions(folder, server, project))
    merged, counts = merge(coco, submissions, folder)
    if submissions:
        write_json(folder / ANNOTATIONS, merged)
    return counts


def interface(labels: Sequence[str]) -> str:
    """The labelling interface, XML: a brush and a polygon for each label, above the picture."""
    view = ElementTree.Element("View")
    for title, kind, tag in (
        ("Paint", "BrushLabels", BRUSH_TAG),
        ("Outline", "PolygonLabels", POLYGON_TAG),
    ):
        row = ElementTree.SubElement(view, "View", style="display: flex; gap: 1em")
        ElementTree.SubElement(row, "Header", value=title, size="5")
        choices = ElementTree.SubElement(row, kind, name=tag, toName=IMAGE_TAG)
        # Label Studio draws brush masks in black if a colour is not "#rrggbb".
        for label, colour in zip(labels, colours(len(labels)), strict=True):
            ElementTree.SubElement(choices, "Label", value=label, background=hex_colour(colour))
    ElementTree.SubElement(
        view, "Image", name=IMAGE_TAG, value="$image", zoom="true", zoomControl="true"
    )
    return ElementTree.tostring(view, encoding="unicode")


def read_annotations(folder: Path) -> dict[str, Any]:
    """Content of a data set's annotations; the set is checked as a whole first.

    Annotations without an id get unused numbers, the same ones each time.

    Raises:
        DatasetError: a file is missing, or differs from what :mod:`ovps_core.datasets.coco_folder` describes.
    """
    if folder.is_file():
        raise DatasetError(
            f"{folder} is a file; give the folder of the pictures, with this file in it as {ANNOTATIONS}"
        )
    table = folder / ANNOTATIONS
    content: dict[str, Any] = read_json(table) if table.is_file() else {}
    if content.get("categories") or not content:
        CocoFolder(folder, pseudo_labels=True, objects=())
    annotations = content.get("annotations", [])
    unused = unused_ids(annotations)
    for each in annotations:
        number = read_id(each.get("id"))
        each["id"] = next(unused) if number is None else number
    return content


def picture_path(folder: Path, file_name: str) -> Path:
    """File of a picture."""
    inside = folder / "images" / file_name
    return inside if inside.is_file() else folder / file_name


def _add_categories(folder: Path, coco: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Add the categories of new labels to the data set."""
    categories = CategoryTable(coco["categories"])
    names = {category_name(category) for category in categories.entries}
    for label in labels:
        category = read_phrase(label)
        if category.name not in names:
            categories.id_of(category.object, category.part)
            names.add(category.name)
    if len(categories.entries) > len(coco["categories"]):
        coco = {**coco, "categories": categories.entries}
        write_json(folder / ANNOTATIONS, coco)
    return coco


def recorded_project(folder: Path, server: Server) -> Project | None:
    """The project that the data set names, if it is on this server and still exists."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        project = Project(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} is damaged: {error}; remove it to make a new project"
        ) from error
    same = bool(project.server) and project.server == server.fingerprint
    if not (same or project.url == server.url) or not server.has_project(project.project):
        log.warning(
            "%s names the project %s, which %s does not have", path, project.page, server.url
        )
        return None
    return replace(project, url=server.url, server=server.fingerprint)


def _suggestions(
    annotations: Sequence[Mapping[str, Any]],
    labels: Mapping[Any, str],
    height: int,
    width: int,
    folder: Path,
) -> Iterator[Region]:
    for annotation in annotations:
        if has_mask(annotation):
            source = f"{folder}, annotation {annotation.get('id')}"
            mask = decode_annotation(annotation, folder / ANNOTATIONS, height, width, source)
            yield Region(region_key(annotation["id"]), labels[annotation["category_id"]], mask)


def _upload(server: Server, project: Project, path: Path) -> str:
    """Upload a picture; the result is its address on the server."""
    uploads = f"/api/projects/{project.project}/import"
    with path.open("rb") as file:
        answer = server.request(
            "POST", uploads, params={"commit_to_project": "false"}, files={path.name: file}
        )
    (number,) = answer["file_upload_ids"]
    return f"/data/{server.request('GET', f'/api/import/file-upload/{number}')['file']}"


def _submissions(folder: Path, server: Server, project: Project) -> Iterator[Submission]:
    """The newest annotation of each task that a person submitted; skipped tasks are left out."""
    client = server.client()
    people = {user.id: user.email or user.username or str(user.id) for user in client.users.list()}
    for task in server.tasks(project.project):
        done = [dict(a) for a in task.annotations or [] if not dict(a).get("was_cancelled")]
        if not done:
            continue
        newest = max(done, key=lambda annotation: str(annotation["updated_at"]))
        author = newest.get("updated_by") or newest.get("completed_by")
        size = image_size(picture_path(folder, task.data["file_name"]))
        results = newest.get("result") or []
        regions = from_results(results, *size, str(task.data["file_name"]))
        yield Submission(
            task.data["image_id"],
            str(people.get(author, author)),
            str(newest["updated_at"]),
            tuple(_joined(regions)),
            str(task.data["file_name"]),
        )


def _joined(regions: Iterator[Region]) -> Iterator[Region]:
    """Regions with the pieces of one mask united; a suggestion of several outlines has numbered keys."""
    whole: dict[tuple[str, str], Region] = {}
    for position, region in enumerate(regions):
        words = region.key.split(":")
        key = ":".join(words[:2]) if words[0] == "ovps" else f"{region.key} {position}"
        before = whole.get((key, region.label))
        mask = region.mask if before is None else before.mask | region.mask
        name = key if words[0] == "ovps" else region.key
        whole[key, region.label] = replace(region, key=name, mask=mask)
    yield from whole.values()


def require_server(server: Server) -> None:
    """Check that the server answers and takes the key.

    Raises:
        UsageError: it does not.
    """
    try:
        server.request("GET", "/api/current-user/whoami")
    except UsageError as error:
        raise UsageError(
            f"{error}. Start one with `ovps label serve`, or give --url and --key of another"
        ) from error
