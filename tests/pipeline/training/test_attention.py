"""What the head is given: means of maps, and means over what the network attends to."""

import torch
from training_toys import make_recipe

from pipeline.training.attention import AttentionPool, MeanPool
from pipeline.training.models import build_model


def draw_maps(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_even_attention_is_the_mean() -> None:
    pool, maps = AttentionPool(8), draw_maps(3, 8, 4, 5)
    torch.nn.init.zeros_(pool.place.weight)
    shares = pool.attend(maps)
    torch.testing.assert_close(shares, torch.full((3, 4, 5), 1 / 20))
    mean = MeanPool(8)(maps)
    torch.testing.assert_close(pool(maps), torch.cat([mean, mean], dim=1))


def test_attention_is_by_place_and_gathers_from_there() -> None:
    pool, maps = AttentionPool(2), draw_maps(1, 2, 3, 4)
    maps[0, 0, 1, 2] = 50
    with torch.no_grad():
        pool.place.weight.copy_(torch.tensor([[10.0, 0.0]]))
    shares = pool.attend(maps)
    assert shares.shape == (1, 3, 4) and shares[0, 1, 2].item() > 0.999
    torch.testing.assert_close(pool(maps)[0, 2:], maps[0, :, 1, 2])


def test_shares_sum_to_one_whatever_the_layout_and_the_precision() -> None:
    pool, maps = AttentionPool(8), draw_maps(2, 8, 4, 4) * 30
    wide = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pool(wide), pool(maps))
    half = AttentionPool(8).bfloat16()
    found = half.attend(maps.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2))
    assert half(maps.bfloat16()).dtype == torch.bfloat16


def test_a_recipe_chooses_the_pool_and_the_head_fits_it() -> None:
    plain, attending = (
        build_model(make_recipe(model={"name": "slim", "pool": name})) for name in ("mean", "attention")
    )
    assert (plain.width, attending.width) == (128, 256)
    assert build_model(make_recipe()).state_dict().keys() == plain.state_dict().keys()
    assert attending(torch.rand(2, 1, 32, 32)).shape == (2, 4)
