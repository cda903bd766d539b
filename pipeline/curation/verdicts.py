"""What is said of a pair of images that were compared, and from which scores on.

Thresholds are measured on three real collections and on 11,000 synthetic copies of their images. Of pairs of
different reference slices, adjacent ones and re-scans among them, the most alike reaches 0.84, and 0.86 where
one is a changed copy; 99 % of aligned copies reach 0.94, and hardly any lies between. `COPY` is in the gap.
Four pairs of reference slices reach 0.96 to 0.98: one patient's slices, scanned twice with the field of view
turned, as the noise at 512 pixels tells (docs/pictures.md).
"""

from dataclasses import dataclass

from pipeline.curation.orientation import Transform, orient
from pipeline.curation.reencodings import LNCC_PROOF, NCC_PROOF, Reencoding
from pipeline.curation.scores import Likeness

COPY = 0.88
REVIEW = 0.82
WORST = 0.40


@dataclass(frozen=True)
class Verdict:
    """A row of the table `pairs`, without its two images.

    `evidence` is ncc, lncc, aligned, or coarse where the alignment gave up; `verdict` is copy, review or
    rejected.
    """

    transform: Transform
    score: float
    worst: float | None
    evidence: str
    verdict: str
    why: str


def judge_reencoding(pair: Reencoding) -> Verdict:
    """A proven re-encoding is a copy."""
    least = NCC_PROOF if pair.evidence == "ncc" else LNCC_PROOF
    why = f"{pair.evidence.upper()} at 64 pixels is at least {least}"
    return Verdict(orient(pair.orientation), pair.score, None, pair.evidence, "copy", why)


def judge_alignment(transform: Transform, fit: float, likeness: Likeness | None) -> Verdict:
    """Of an aligned pair, by its likeness; one that was given up is rejected, with its fit as score."""
    if likeness is None:
        why = "given up: unlike at 32 or 64 pixels"
        return Verdict(transform, fit, None, "coarse", "rejected", why)
    if likeness.score >= COPY and likeness.worst >= WORST:
        verdict, why = "copy", f"aligned LNCC is at least {COPY}, no block below {WORST}"
    elif likeness.score >= COPY:
        verdict, why = "review", f"aligned LNCC is at least {COPY}, but a block is below {WORST}"
    elif likeness.score >= REVIEW:
        verdict, why = "review", f"aligned LNCC is between {REVIEW} and {COPY}"
    else:
        verdict, why = "rejected", f"aligned LNCC is below {REVIEW}"
    return Verdict(transform, likeness.score, likeness.worst, "aligned", verdict, why)
