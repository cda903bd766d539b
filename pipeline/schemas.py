"""The schemas of all tables: columns, types, units, keys. What a room adds to a table, it declares here."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.labels import LABELS

SCHEMA_VERSION = 1

QUARANTINE_REASONS = {
    "empty": "the file has no bytes",
    "truncated": "the image data ends early",
    "corrupt": "the bytes claim to be an image but cannot be decoded",
    "not_an_image": "no image format that Falx reads",
    "too_large": "more pixels than a slice can have",
    "hidden": "inside a dot-folder, or a dot-file",
    "sidecar": "a table that describes the images, read as such",
    "mask": "a segmentation mask, never an image",
    "unmapped_label": "its folder's label is not in the collection's label map",
    "unlabelled": "the collection gives no label for it",
    "unreadable": "the file cannot be opened or changed while it was read",
    "link": "a symbolic link, which is never followed",
    "removed": "removed by a person's decision",
}


@dataclass(frozen=True)
class Column:
    """One column: `kind` is string, int64, float64, bool, binary, image, strings, floats or members."""

    name: str
    kind: str
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that identify a row."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [column.name for column in self.columns]


def _table(name: str, row: str, key: Sequence[str], *columns: Column) -> Table:
    return Table(name, row, tuple(key), columns)


_IMAGE_ID = Column("image_id", "string", "MD5 of the file's bytes, in hex")
_COLLECTION = Column("collection", "string", "the collection's name in the catalog")
_PATH = Column("path", "string", "path relative to the collection's folder, `/` between parts")
_TRANSFORM = (
    Column("mirrored", "bool", "mirrored left–right against `representative`"),
    Column("turned", "int64", "then turned counter-clockwise against it: 0, 90, 180 or 270 degrees"),
    Column("transform", "floats", "a…f: (x, y) there is (ax + by + c, dx + ey + f) here; fractions, y down"),
)
_FILE = (
    _COLLECTION,
    _PATH,
    Column("bytes", "int64", "size in bytes; 0 where it was not looked at, as behind a link"),
    Column("md5", "string", "MD5 of the bytes, in hex; null where the file was not read", True),
    Column("width", "int64", "pixels as seen; null where not decoded", True),
    Column("height", "int64", "pixels as seen; null where not decoded", True),
    Column("mode", "string", "colour mode as stored: L, RGB, RGBA, P, I;16, …", True),
    Column("format", "string", "format found in the bytes, whatever the name says", True),
    Column("published_split", "string", "train or test, where the collection's folders say so", True),
    Column("published_label", "string", "label as the collection spells it", True),
    Column("label", "string", "published_label on the one label scale", True),
    Column("licence", "string", "licence of the collection, as stated"),
    Column("reason", "string", "why the file is set aside; null for a member of `images`", True),
    Column("detail", "string", "what exactly was found", True),
)
_MODEL = (
    Column("model_id", "string", "digest of recipe, protocol, seed and training data"),
    Column("recipe", "string", "recipe name in the catalog"),
    Column("protocol", "string", "how the test set was chosen"),
    Column("seed", "int64", "seed of the training"),
)
_INTERVAL = (
    Column("low", "float64", "2.5th percentile of the group bootstrap", True),
    Column("high", "float64", "97.5th percentile of the group bootstrap", True),
)
_VALUE = (Column("value", "float64", "the figure; null where it is not defined", True), *_INTERVAL)
_FIGURES = (
    *_MODEL,
    Column("metric", "string", "name of the metric"),
    Column("class", "string", "label, or `all`"),
    Column("variant", "string", "clean, or degradation:severity"),
    *_VALUE,
    Column("n", "int64", "images"),
    Column("groups", "int64", "groups that the bootstrap drew from"),
)
_PROBABILITIES = tuple(Column(f"p_{label}", "float64", f"probability of {label}, 0 to 1") for label in LABELS)
_ANSWER = (
    *_MODEL,
    _IMAGE_ID,
    _COLLECTION,
    _PATH,
    Column("variant", "string", "clean, or degradation:severity"),
    Column("label", "string", "the true label"),
    Column("group_id", "string", "the unit that the bootstrap draws"),
    *_PROBABILITIES,
)

_ALL = (
    _table(
        "scan",
        "one file found in a raw folder, as it was read",
        ["collection", "path"],
        *_FILE,
    ),
    _table(
        "scanned",
        "one collection, as it was when its files were read",
        ["collection"],
        _COLLECTION,
        Column("digest", "string", "digest of its trusted bytes, as in the lock file"),
        Column("entry", "string", "digest of its catalog entry: layout, label map"),
        Column("code", "string", "version of the code that read it"),
    ),
    _table(
        "files",
        "one file found in a raw folder, with the last word on whether it is used",
        ["collection", "path"],
        *_FILE,
    ),
    _table(
        "quarantine",
        "one file set aside, with the reason",
        ["collection", "path"],
        _COLLECTION,
        _PATH,
        Column("reason", "string", "one of: " + ", ".join(QUARANTINE_REASONS)),
        Column("detail", "string", "what exactly was found"),
    ),
    _table(
        "records",
        "what a reference collection says of one of its slices (members of images only)",
        ["collection", "path"],
        _COLLECTION,
        _PATH,
        Column("slice", "string", "the collection's own name of the slice"),
        Column("patient", "string", "patient id as the collection spells it", True),
        Column("box_x", "float64", "centre of the tumour's box, fraction of the width", True),
        Column("box_y", "float64", "centre of the tumour's box, fraction of the height", True),
        Column("box_w", "float64", "width of the tumour's box, fraction of the width", True),
        Column("box_h", "float64", "height of the tumour's box, fraction of the height", True),
    ),
    _table(
        "thumbnails",
        "one decodable MD5-distinct image, small",
        ["image_id"],
        _IMAGE_ID,
        Column("pixels", "binary", "128 × 128 grey uint8, row by row: 16,384 bytes"),
    ),
    _table(
        "images",
        "one MD5-distinct decodable image",
        ["image_id"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("label", "string", "the label, where its files agree or a rule decides; else null", True),
        Column("labels", "strings", "all labels seen, sorted"),
        Column("width", "int64", "pixels"),
        Column("height", "int64", "pixels"),
        Column("members", "members", "its files: collection, path, published split, label"),
    ),
    _table(
        "pictures",
        "one image, with the picture that it shows",
        ["image_id"],
        _IMAGE_ID,
        Column("picture_id", "string", "digest of the picture's representative image"),
        Column("representative", "string", "image_id of the image that stands for the picture"),
        Column("joined_to", "string", "image_id that it was proven against; itself where it stands alone"),
        *_TRANSFORM,
        Column("score", "float64", "similarity to `joined_to`, 1 for itself"),
        Column("worst", "float64", "similarity of the worst block, where the pair was aligned", True),
        Column("evidence", "string", "self, or the proof that joined it: ncc, lncc, aligned, decision"),
    ),
    _table(
        "pairs",
        "two images that were compared, with what came of it",
        ["first", "second"],
        Column("first", "string", "image_id, the smaller"),
        Column("second", "string", "image_id, the larger"),
        Column("mirrored", "bool", "`second` is mirrored left–right against `first`"),
        Column("turned", "int64", "quarter turns of `second` against `first`: 0, 90, 180 or 270 degrees"),
        Column("transform", "floats", "six numbers, as in `pictures`: from `first` to `second`"),
        Column("score", "float64", "similarity after the transform, −1 to 1"),
        Column("worst", "float64", "similarity of the worst block, where the pair was aligned", True),
        Column("evidence", "string", "how it was compared: ncc, lncc, aligned, coarse (given up), decision"),
        Column("verdict", "string", "copy, review (grey band) or rejected"),
        Column("why", "string", "the rule that gave the verdict"),
    ),
    _table(
        "compared",
        "one image that the search for copies has seen",
        ["image_id"],
        _IMAGE_ID,
    ),
    _table(
        "review",
        "one pair in the grey band, for a person to decide",
        ["first", "second"],
        Column("first", "string", "image_id, the smaller"),
        Column("second", "string", "image_id, the larger"),
        Column("first_file", "string", "collection/path of the first"),
        Column("second_file", "string", "collection/path of the second"),
        Column("first_label", "string", "label of the first", True),
        Column("second_label", "string", "label of the second", True),
        Column("score", "float64", "similarity after the transform"),
        Column("worst", "float64", "similarity of the worst block", True),
        Column("decision", "string", "accept or reject, where a person has decided", True),
        Column("who", "string", "who decided", True),
        Column("reason", "string", "why", True),
    ),
    _table(
        "decisions",
        "one decision of a person, from the decision file",
        ["action", "first", "second"],
        Column("action", "string", "accept or reject (a pair), keep or remove (an image)"),
        Column("first", "string", "image_id"),
        Column("second", "string", "image_id of the pair's other image; empty for keep and remove"),
        Column("who", "string", "who decided"),
        Column("why", "string", "the reason given"),
    ),
    _table(
        "looks",
        "one decodable MD5-distinct image, measured",
        ["image_id"],
        _IMAGE_ID,
        Column("brightness", "float64", "mean grey level, 0 to 255"),
        Column("contrast", "float64", "standard deviation of the grey levels"),
        Column("colour", "float64", "mean over pixels of the spread of red, green and blue, 0 to 255"),
        Column("dark", "float64", "share of pixels below 16"),
        Column("border", "float64", "share of the outermost rows and columns below 16"),
        Column("jpeg", "int64", "sum of the luminance quantisation table; null where not a JPEG", True),
    ),
    _table(
        "foreign",
        "one image that does not look like a brain MR slice",
        ["image_id"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("kind", "string", "blank, noise, photograph, screenshot, ct"),
        Column("detail", "string", "the statistic that says so, with its limit"),
        Column("kept", "bool", "whether a decision keeps it all the same"),
    ),
    _table(
        "conflicts",
        "one image whose label is contradicted",
        ["image_id"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("kind", "string", "bytes (its files differ), reference, or copies (of its picture differ)"),
        Column("label", "string", "the label of the image, where it has one", True),
        Column("labels", "strings", "all labels that its files, its copies and the reference give, sorted"),
        Column("reference_label", "string", "label that the reference gives to the picture", True),
        Column("resolved", "string", "the label that the rule decides on", True),
        Column("rule", "string", "the rule, in words"),
        Column("set_aside", "bool", "whether it is left out of `patient`"),
    ),
    _table(
        "patients",
        "one image with its patient, where known",
        ["image_id"],
        _IMAGE_ID,
        Column("patient_id", "string", "patient, suffixes merged; null where unknown", True),
        Column("source", "string", "record (own), copy (of a reference slice), or unknown"),
        Column("reference_id", "string", "image_id of the reference slice it is a copy of", True),
        Column("reference_label", "string", "label that the reference gives to the picture", True),
        Column("box_x", "float64", "centre of the tumour's box in own pixels, fraction of the width", True),
        Column("box_y", "float64", "centre of the tumour's box in own pixels, fraction of the height", True),
        Column("box_w", "float64", "width of the tumour's box, fraction of the width", True),
        Column("box_h", "float64", "height of the tumour's box, fraction of the height", True),
    ),
    _table(
        "groups",
        "one image with the smallest unit that may never be split",
        ["image_id"],
        _IMAGE_ID,
        Column("group_id", "string", "digest of the smallest image_id among connected pictures and patients"),
        Column("safety", "string", "what the group is known by: patient, picture or image"),
    ),
    _table(
        "splits",
        "one image (under `published`: one file) in one protocol",
        ["collection", "path"],
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("label", "string", "label trained on and scored against; null only if left out", True),
        Column("split", "string", "train, val, test or left_out"),
        Column("why", "string", "the rule that put it there"),
        Column("picture_id", "string", "what it shows; null where every file counts, as published", True),
        Column("copy_rank", "int64", "0 for the copy that stands for its picture, then 1, 2, …", True),
    ),
    _table(
        "ledger",
        "one image in the frozen assignments, as it was known in one release; rows are only ever added",
        ["image_id", "release"],
        _IMAGE_ID,
        Column("release", "int64", "which extension of the ledger added the row: 1, 2, …"),
        Column("picture_id", "string", "the picture that it showed then"),
        Column("patient_id", "string", "its patient then; null where unknown", True),
        Column("split", "string", "its split under `patient`, for good; null if only in a fold", True),
        Column("fold", "int64", "its fold, for good; null if in none", True),
        Column("why", "string", "the rule that put it into its split; empty without one"),
    ),
    _table(
        "folds",
        "one image with its place in the five patient-disjoint folds",
        ["image_id"],
        _IMAGE_ID,
        Column("fold", "int64", "1 to 5; null if left out", True),
        Column("why", "string", "the rule that put it there"),
    ),
    _table(
        "audit",
        "one counted fact about the data",
        ["section", "subject", "measure"],
        Column(
            "section", "string", "collections, quarantine, leaks, class leaks, conflicts, foreign, splits"
        ),
        Column("subject", "string", "what was counted: a collection, a test set, a protocol"),
        Column("measure", "string", "the name of the count"),
        Column("value", "int64", "the count"),
        Column("total", "int64", "out of how many"),
    ),
    _table(
        "variants",
        "one degraded test image; without a picture it is made from its seed when a model is tested",
        ["image_id", "degradation", "severity"],
        _IMAGE_ID,
        Column("label", "string", "label of the clean image"),
        Column("degradation", "string", "name in catalog/degradations.yaml"),
        Column("severity", "int64", "1 (mild) to 5 (severe)"),
        Column("value", "float64", "the degradation's parameter at this severity, in its unit"),
        Column("seed", "int64", "seed of the draw, a function of image, degradation and severity"),
        Column("image", "image", "PNG, grey, as a Hugging Face Image; null if not `stored`", True),
    ),
    _table(
        "predictions",
        "one test image under one model",
        ["model_id", "collection", "path", "variant"],
        *_ANSWER,
    ),
    _table(
        "validations",
        "one val image under one model, clean: what is fitted is fitted here, and no score is counted",
        ["model_id", "collection", "path", "variant"],
        *_ANSWER,
    ),
    _table(
        "metrics",
        "one figure",
        ["model_id", "metric", "class", "variant"],
        *_FIGURES,
    ),
    _table(
        "evidence",
        "one figure beyond the scores: calibration, abstention, conformal sets, a subset",
        ["model_id", "metric", "subset", "class"],
        *_MODEL,
        Column("metric", "string", "name of the figure, explained in docs/evaluation.md"),
        Column("subset", "string", "all, val (what was fitted there), three_class or collection:<name>"),
        Column("class", "string", "true class of the images counted, or `all`"),
        *_VALUE,
        Column("n", "int64", "images counted"),
        Column("groups", "int64", "groups that these images lie in"),
    ),
    _table(
        "heats",
        "the heat of one tumour image with a box, under one method and network, or the centre blob",
        ["model_id", "image_id", "method", "drawn_from"],
        *_MODEL,
        _IMAGE_ID,
        _COLLECTION,
        _PATH,
        Column("label", "string", "the true label, whose heat it is"),
        Column("called", "string", "the label that the trained model gave"),
        Column("group_id", "string", "the unit that the bootstrap draws"),
        Column("method", "string", "grad_cam, saliency; none for the centre blob"),
        Column("drawn_from", "string", "trained, random_weights (the mean of several) or centre_blob"),
        Column("hit", "float64", "hottest pixel inside the box: 1, 0, or the share of equally hot ones"),
        Column("near", "float64", "the same within 15/224 of the side around the box"),
        Column("share", "float64", "share of the heat inside the box"),
        Column("area", "float64", "share of the pixels inside the box: what chance gives for hit and share"),
        Column("near_area", "float64", "what chance gives for near"),
        Column("empty", "float64", "1 where the map has no heat at all, so it counts as chance; else 0"),
        Column(
            "verdict", "string", "right, wrong_reason (right, with the heat of grad_cam elsewhere) or wrong"
        ),
    ),
    _table(
        "explanations",
        "one figure of the heat of one model against the tumours' boxes",
        ["model_id", "subset", "method", "metric", "subject"],
        *_MODEL,
        Column("subset", "string", "all (images with a box), or right (those that it answered rightly)"),
        Column("method", "string", "grad_cam or saliency"),
        Column("metric", "string", "name of the figure, explained in docs/explanations.md"),
        Column("subject", "string", "whose heat, or trained minus a baseline: over_<baseline>"),
        *_VALUE,
        Column("n", "int64", "images counted"),
        Column("groups", "int64", "groups that these images lie in"),
    ),
    _table(
        "pooled",
        "one figure over all five folds: each image answered once, by a model that had not seen its group",
        ["model_id", "metric", "class", "variant"],
        *_FIGURES,
    ),
    _table(
        "leaderboard",
        "one recipe under one protocol",
        ["recipe", "protocol"],
        Column("recipe", "string", "recipe name in the catalog"),
        Column("protocol", "string", "how the test set was chosen"),
        Column("seeds", "int64", "number of seeds averaged"),
        Column("accuracy", "float64", "share of right answers"),
        Column("macro_f1", "float64", "mean of the per-class F1"),
        Column("macro_f1_spread", "float64", "standard deviation over seeds; null with one", True),
        Column("macro_f1_low", "float64", "2.5th percentile of the group bootstrap", True),
        Column("macro_f1_high", "float64", "97.5th percentile of the group bootstrap", True),
        Column("miss_rate", "float64", "share of tumours called no_tumor", True),
        Column("optimism", "float64", "macro_f1 minus macro_f1 under `patient`, same recipe", True),
        Column("optimism_low", "float64", "2.5th percentile", True),
        Column("optimism_high", "float64", "97.5th percentile", True),
        Column("n", "int64", "test images"),
        Column("groups", "int64", "test groups"),
        Column("gate", "string", "verdict of the gate that the model was trained behind"),
    ),
    _table(
        "robustness",
        "one figure of one model on degraded test images",
        ["model_id", "metric", "degradation", "class"],
        *_MODEL,
        Column("metric", "string", "name of the figure, explained in docs/evaluation.md"),
        Column("degradation", "string", "name in catalog/degradations.yaml; `all` is over all of them"),
        Column("class", "string", "true class of the images counted, or `all`"),
        *_VALUE,
        Column("n", "int64", "images counted, each at every severity"),
        Column("groups", "int64", "groups that these images lie in"),
    ),
    _table(
        "comparisons",
        "two recipes under one protocol, tested on the same images",
        ["protocol", "first", "second"],
        Column("protocol", "string", "how the test set was chosen"),
        Column(
            "first", "string", "recipe name; the one with the higher macro-F1, of equals the first by name"
        ),
        Column("second", "string", "recipe name"),
        Column("first_macro_f1", "float64", "mean over its seeds"),
        Column("second_macro_f1", "float64", "mean over its seeds"),
        Column("difference", "float64", "macro-F1 of the first minus that of the second"),
        Column("low", "float64", "2.5th percentile of the paired group bootstrap", True),
        Column("high", "float64", "97.5th percentile of the paired group bootstrap", True),
        Column("above", "float64", "share of draws in which the first is better, a tie counting half", True),
        Column("n", "int64", "test images"),
        Column("groups", "int64", "test groups"),
    ),
    _table(
        "release",
        "one candidate for release",
        ["recipe"],
        Column("recipe", "string", "recipe name in the catalog"),
        Column("model_id", "string", "the model that was weighed"),
        Column("val_macro_f1", "float64", "macro-F1 on val under `patient`; never on test"),
        Column("gate", "string", "verdict of the gate"),
        Column("champion", "bool", "whether it is the one that carries the alias"),
        Column("why", "string", "the rule's words"),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
