"""Splits: shares, strata, groups kept whole, earlier assignments carried forward, refusals that say why."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curation.conflicts import list_conflicts
from pipeline.curation.gate import enforce_gate, inspect_split
from pipeline.curation.splits import apportion, split_patient, split_published, split_stratified
from pipeline.errors import GateError
from pipeline.labels import LABELS

PARTS = ("train", "val", "test")


def by_image(split):
    return split.drop_duplicates("image_id").set_index("image_id")


def split_of(tables, **options):
    return split_patient(tables.images, tables.patients, tables.groups, pictures=tables.pictures, **options)


@given(count=st.integers(0, 500))
def test_apportion_is_whole_and_close(count):
    parts = apportion(count, (0.7, 0.15, 0.15))
    assert sum(parts) == count
    assert all(abs(part - count * share) < 1 for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True))


class TestPublished:
    def split(self, kit, tables):
        return split_published(tables.files, tables.images, kit.collections)

    def test_folders_decide(self, kit, corpus):
        tables = corpus.tables()
        split = kit.cast("splits", self.split(kit, tables))
        kept = tables.files[tables.files["published_split"].notna()]
        joined = split.merge(kept, on=["collection", "path"], suffixes=("", "_own"))
        assert len(joined) == len(split) == len(kept)
        assert ((joined["split"] == "test") == (joined["published_split"] == "test")).all()
        assert (joined["label"] == joined["label_own"]).all()
        assert "reference" not in set(split["collection"])

    def test_val_is_15_percent_per_collection_and_label(self, kit, corpus):
        split = self.split(kit, corpus.tables())
        training = split[split["split"] != "test"]
        for _, rows in training.groupby(["collection", "label"]):
            assert abs((rows["split"] == "val").sum() - 0.15 * len(rows)) < 1

    def test_byte_identical_files_stay_together_with_their_own_labels(self, kit, corpus):
        twins = [corpus.add(f"twin{k}", md5=kit.name_image(f"twin{k}")) for k in range(30)]
        for k, md5 in enumerate(twins):
            corpus.add(f"again{k}", "meningioma", collection="kaggle_b", md5=md5)
        split = self.split(kit, corpus.tables())
        rows = split[split["image_id"].isin(twins)]
        assert len(rows) == 60
        assert (rows.groupby("image_id")["split"].nunique() == 1).all()
        assert (rows.groupby("image_id")["label"].nunique() == 2).all()
        assert set(rows["split"]) == {"train", "val"}

    def test_unlabelled_file_is_left_out(self, kit, corpus):
        corpus.add("strange", None)
        split = self.split(kit, corpus.tables()).set_index("path")
        assert tuple(split.loc["strange", ["split", "why"]]) == ("left_out", "no label")

    def test_refuses_a_file_without_image(self, kit, corpus):
        tables = corpus.tables()
        images = tables.images[tables.images["collection"] == "reference"]
        with pytest.raises(GateError, match="belong to no image"):
            split_published(tables.files, images, kit.collections)

    def test_row_order_changes_nothing(self, kit, corpus):
        tables = corpus.tables()
        shuffled = split_published(
            tables.files.sample(frac=1, random_state=1), tables.images, kit.collections
        )
        pd.testing.assert_frame_equal(shuffled, self.split(kit, tables))


class TestStratified:
    def test_shares_hold_for_each_label(self, kit, corpus):
        corpus.add("strange", None)
        tables = corpus.tables()
        split = kit.cast("splits", split_stratified(tables.images))
        assert sorted(split["image_id"]) == sorted(tables.images["image_id"])
        for label in LABELS:
            rows = split[split["label"] == label]
            counts = [int((rows["split"] == part).sum()) for part in PARTS]
            assert counts == apportion(len(rows), (0.7, 0.15, 0.15))
        assert list(split.loc[split["label"].isna(), "split"]) == ["left_out"]

    def test_seed_and_nothing_else_changes_the_draw(self, corpus):
        images = corpus.tables().images
        one = split_stratified(images)
        pd.testing.assert_frame_equal(split_stratified(images.sample(frac=1, random_state=2)), one)
        assert not split_stratified(images, seed=1).equals(one)


class TestPatient:
    def test_groups_are_whole_and_shares_hold(self, kit, tables, split):
        kit.cast("splits", split)
        joined = split.merge(tables.groups, on="image_id")
        assert (joined.groupby("group_id")["split"].nunique() == 1).all()
        for label in LABELS:
            rows = joined[joined["label"] == label]
            for part, share in zip(PARTS, (0.7, 0.15, 0.15), strict=True):
                held = rows[rows["split"] == part]
                assert abs(len(held) - share * len(rows)) <= 4, (label, part)
                assert abs(held["group_id"].nunique() - share * rows["group_id"].nunique()) <= 1, (
                    label,
                    part,
                )
        assert enforce_gate(inspect_split(split, *tables.evidence, protocol="patient"), "patient") == "passed"

    def test_each_collection_has_every_class_in_every_split(self, split):
        cells = split.groupby(["collection", "label"])["split"].nunique()
        assert (cells == 3).all()

    def test_row_order_changes_nothing(self, tables, split):
        shuffled = (
            frame.sample(frac=1, random_state=5) for frame in (tables.images, tables.patients, tables.groups)
        )
        pictures = tables.pictures.sample(frac=1, random_state=6)
        pd.testing.assert_frame_equal(split_patient(*shuffled, pictures=pictures), split)

    def test_conflicting_labels_are_left_out_with_why(self, corpus):
        wrong = corpus.add("wrong", "meningioma", picture="glioma-0-0")
        unknown = corpus.add("unknown", None)
        pair = [corpus.add(f"pair{label}", label, picture="pair") for label in ("glioma", "pituitary")]
        split = by_image(split_of(corpus.tables()))
        assert set(split.loc[[wrong, unknown, *pair], "split"]) == {"left_out"}
        told = "label contradicts reference: meningioma here, glioma there; set aside"
        assert split.at[wrong, "why"] == told
        assert "different labels" in split.at[unknown, "why"]
        assert split.at[pair[0], "why"].endswith("no reference decides: glioma, pituitary")
        assert (split["split"] == "left_out").sum() == 4

    def test_each_row_says_which_copy_of_which_picture_it_is(self, tables, split):
        pictures = tables.pictures.set_index("image_id")["picture_id"]
        assert (split["picture_id"].to_numpy() == pictures.reindex(split["image_id"]).to_numpy()).all()
        for _, copies in split.groupby("picture_id"):
            assert sorted(copies["copy_rank"]) == list(range(len(copies)))

    def test_what_conflicts_sets_aside_is_left_out_for_its_rule(self, tables):
        conflicts = list_conflicts(tables.images, tables.pictures, tables.patients)
        chosen = tables.images["image_id"].iloc[0]
        conflicts.loc[0] = [chosen, "a", "b", "copies", "glioma", ["glioma"], None, None, "by hand", True]
        row = by_image(split_of(tables, conflicts=conflicts)).loc[chosen]
        assert tuple(row[["split", "why"]]) == ("left_out", "by hand")

    @pytest.mark.parametrize("heads", [0, 2])
    def test_refuses_a_class_with_too_few_groups(self, kit, heads):
        corpus = kit.Corpus()
        kit.fill(corpus, ("glioma", "meningioma", "no_tumor"))
        kit.fill(corpus, ("pituitary",), heads=heads, singles=0)
        with pytest.raises(GateError, match=rf"pituitary has {heads}.*add a collection"):
            split_of(corpus.tables())
