"""Croissant metadata (JSON-LD, version 1.0) of the lake's tables: what they hold, with SHA-256 and splits.

Specification: MLCommons, Croissant Format 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html) and its
Responsible AI extension, RAI 1.0. Checked in tests with `mlcroissant`, which reads the tables through it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.audit.evidence import Evidence
from pipeline.audit.gathering import DISCLAIMERS
from pipeline.catalog import Collection
from pipeline.digests import digest_file
from pipeline.errors import TableError
from pipeline.labels import LABELS
from pipeline.schemas import Column, Table
from pipeline.tables import find_table

CONFORMS = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
CROISSANT = "croissant.json"
NAME = "falx-brain-tumour-collections"

Json = dict[str, Any]

_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification requires, appendix 1."""

_TYPES = {
    "string": "sc:Text",
    "strings": "sc:Text",
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "floats": "sc:Float",
    "bool": "sc:Boolean",
    "binary": "sc:Text",  # the format has no type for plain bytes; readers get them as they are
}
_MEMBER_FIELDS = {
    "collection": "the collection that holds the file",
    "path": "its path there",
    "published_split": "train or test, where the collection says so",
    "label": "the label that the file carries",
}
_SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}


def describe_lake(evidence: Evidence, tables: Mapping[str, Path], folder: Path) -> Json:
    """The Croissant description of stored tables.

    Args:
        evidence: for collections, licences, citations and the lock.
        tables: table name (`files`, `splits/patient`, …) -> its Parquet file.
        folder: where `croissant.json` will lie; addresses are relative to it.

    Raises:
        TableError: a table is not declared, or its file is missing.
    """
    missing = sorted(name for name, path in tables.items() if not path.is_file())
    if missing:
        raise TableError(
            f"Croissant cannot describe {', '.join(missing)}: no file at {tables[missing[0]]}; materialise "
            "them first"
        )
    collections = [evidence.collections[name] for name in evidence.names]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS),
        "name": NAME,
        "description": _describe(evidence),
        "version": "1.0.0",
        "license": _list_licences(collections),
        "citeAs": " ".join(one.citation for one in collections),
        "keywords": ["brain tumour", "MRI", "duplicates", "patient-disjoint splits", *LABELS],
        "isBasedOn": [_describe_source(evidence, one) for one in collections],
        "isLiveDataset": False,
        **_describe_risks(),
        "distribution": [_describe_file(name, tables[name], folder) for name in sorted(tables)],
        "recordSet": [_list_splits(), *(_describe_table(name) for name in sorted(tables))],
    }


def dump_croissant(description: Json) -> str:
    """The text of `croissant.json`; the same description gives the same bytes."""
    return json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _describe(evidence: Evidence) -> str:
    return (
        f"Tables about {len(evidence.files):,} files of {len(evidence.names)} public brain-tumour MRI "
        f"collections: hashes, labels, which images show one picture ({len(evidence.images):,} images, "
        f"{evidence.pictures['picture_id'].nunique():,} pictures), known patients, and splits that no "
        "picture and no known patient crosses. " + " ".join(DISCLAIMERS)
    )


def _list_licences(collections: Sequence[Collection]) -> list[str]:
    return [f"{one.name}: {one.licence.stated} (pixels: {one.licence.redistribute})" for one in collections]


def _describe_source(evidence: Evidence, one: Collection) -> Json:
    locked = evidence.lock.get(one.name)
    kaggle, manual = one.source.kaggle, one.source.manual
    described: Json = {
        "@type": "sc:Dataset",
        "name": one.title,
        "alternateName": one.name,
        "url": f"https://www.kaggle.com/datasets/{kaggle.slug}" if kaggle else (manual.url if manual else ""),
        "license": one.licence.stated,
        "citation": one.citation,
    }
    if locked:
        described["identifier"] = f"sha256-tree:{locked.digest}"
        described["size"] = f"{locked.bytes} bytes in {locked.files} files"
        described |= {"version": str(locked.version)} if locked.version is not None else {}
    return described


def _describe_risks() -> Json:
    return {
        "rai:dataUseCases": "Measuring how much published scores owe to copies and to patients on both "
        "sides; training and testing on patient-disjoint splits. Not for clinical use.",
        "rai:dataLimitations": "Two-dimensional slices of few patients; labels are the publishers'; patients "
        "are known for copies of the reference collection only.",
        "rai:dataBiases": "Class is confounded with collection, hospital, sequence and encoding: see the "
        "section on shortcuts in audit.html.",
        "rai:personalSensitiveInformation": "Patient ids are the reference collection's own pseudonyms. Some "
        "slices show the face in profile.",
    }


def _describe_file(name: str, path: Path, folder: Path) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.parquet",
        "name": f"{name}.parquet",
        "description": f"A row is {find_table(name).row}.",
        "contentUrl": Path(os.path.relpath(path, folder)).as_posix(),
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": digest_file(path),
    }


def _list_splits() -> Json:
    """The parts of a split by the names that Croissant knows; `left_out` is no part of any."""
    name = "split_names"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": "What the words of column `split` mean; rows that are left out belong to no part.",
        "dataType": "cr:Split",
        "key": {"@id": f"{name}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{one}", "name": one, "dataType": kind}
            for one, kind in (("name", "sc:Text"), ("url", "sc:URL"))
        ],
        "data": [{f"{name}/name": one, f"{name}/url": address} for one, address in _SPLITS.items()],
    }


def _describe_table(name: str) -> Json:
    table = find_table(name)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": _describe_rows(name, table),
        "key": [{"@id": f"{name}/{column}"} for column in table.key],
        "field": [_describe_column(name, column) for column in table.columns],
    }


def _describe_rows(name: str, table: Table) -> str:
    head, _, protocol = name.partition("/")
    return f"A row is {table.row}." + (f" Protocol {protocol}." if head == "splits" else "")


def _describe_column(table: str, column: Column) -> Json:
    field: Json = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": column.name,
        "description": column.description,
    }
    source: Json = {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}}
    if column.kind == "members":
        parts = ((name, words, "sc:Text") for name, words in _MEMBER_FIELDS.items())
        return field | {"repeated": True, "subField": [_part(field, source, *one) for one in parts]}
    if column.kind == "image":
        return field | {"subField": [_part(field, source, "bytes", "the PNG file", "sc:ImageObject")]}
    repeated = {"repeated": True} if column.kind in ("strings", "floats") else {}
    return field | {"dataType": _TYPES[column.kind], **repeated, "source": source}


def _part(field: Json, source: Json, name: str, words: str, kind: str) -> Json:
    return {
        "@type": "cr:Field",
        "@id": f"{field['@id']}/{name}",
        "name": name,
        "description": words,
        "dataType": kind,
        "source": source | {"transform": {"jsonPath": name}},
    }
