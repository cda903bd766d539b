"""The four labels, in the order that every table, model and figure uses."""

from typing import Literal, get_args

Label = Literal["glioma", "meningioma", "pituitary", "no_tumor"]
LABELS: tuple[Label, ...] = get_args(Label)
TUMOURS: tuple[Label, ...] = ("glioma", "meningioma", "pituitary")

Protocol = Literal["published", "stratified", "patient"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Split = Literal["train", "val", "test", "left_out"]
SPLITS: tuple[Split, ...] = get_args(Split)
