"""Choosing the model that people should use: by val under `patient`, never by test."""

import pandas as pd

RULE = "highest macro-F1 on val under `patient`, behind a passed gate; ties go to the first recipe by name"


def choose_champion(candidates: pd.DataFrame) -> pd.DataFrame:
    """The `release` table: one row a recipe, its best seed, and which recipe is the champion.

    Args:
        candidates: columns recipe, model_id, val_macro_f1, gate; one row a trained seed.

    Returns:
        At most one row has `champion`; none where no candidate passed the gate. `why` says the rule's words.
    """
    ordered = candidates.sort_values(["val_macro_f1", "recipe", "model_id"], ascending=[False, True, True])
    best = ordered.drop_duplicates("recipe").reset_index(drop=True)
    passed = best["gate"] == "passed"
    champion = passed & (passed.cumsum() == 1)
    return best.assign(
        champion=champion, why=[_explain(row) for row in best.assign(champion=champion).itertuples()]
    )


def _explain(row: object) -> str:
    score = f"val macro-F1 {row.val_macro_f1:.4f}"  # type: ignore[attr-defined]
    if row.champion:  # type: ignore[attr-defined]
        return f"{score}: {RULE}"
    if row.gate != "passed":  # type: ignore[attr-defined]
        return f"{score}, but the gate says {row.gate}"  # type: ignore[attr-defined]
    return f"{score}: another recipe is higher"
