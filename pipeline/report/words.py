"""Words that both pages and the card use: protocols, limits, and how a protocol is named."""

from pipeline.protocols import collection_of, fold_of

PROTOCOLS = {
    "published": "The collections' own folders: trained on their training files (a part of "
    "which is val), tested "
    "on their test files. This is the claim as published. Copies and patients may lie on both sides.",
    "stratified": "Images of distinct bytes, dealt out 70/15/15 by class. The usual honest "
    "effort: copies that "
    "were re-encoded, mirrored or cropped, and other slices of a patient, may lie on both sides.",
    "patient": "Whole groups of connected pictures and patients, dealt out 70/15/15. No picture and no known "
    "patient lies on both sides; behind a leak nothing is trained. The only score to stand behind.",
}
FOLD = (
    "One of five equal parts of all groups is tested, the others are trained on. No picture and no known "
    "patient lies on both sides."
)
EXTERNAL = (
    "Trained on the other collections, tested on this one, minus every picture and patient that they share: "
    "does the model travel?"
)

LIMITS = (
    "Every score is a score on public collections, not on any clinic.",
    "Class and source coincide in part: most images without a tumour come from other scanners, so scores "
    "of four classes flatter every model. Read the three tumours apart.",
    "Patients are known through the reference collection alone. An image that is no copy of "
    "a reference slice "
    "has no known patient; two such images may show one person.",
    "Counts of copies are lower bounds: what is cropped by more than a fifth, or blurred to nothing, is not "
    "proven.",
    "Intervals say what other test patients would change. They do not say what another training, another "
    "val part or another hospital would.",
    "Conformal sets promise their coverage for exchangeable images; patients make images less than that.",
    "Labels are those of the publishers; nobody here has read the scans.",
)
LOST = "its own answers to the test part are no longer in the lake: the figures below are of a later model"
"""Of a champion whose recipe was trained again and not promoted."""


def explain_protocol(protocol: str) -> str:
    """How the test set was chosen, in words."""
    if fold_of(protocol):
        return FOLD
    return EXTERNAL if collection_of(protocol) else PROTOCOLS[protocol]
