import pytest

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError, ScaleDropError
from atlasbench.core.resolution import Resolution, parse_resolution
from atlasbench.core.scales import (
    atlas_attention_flops,
    check_scale_drop,
    default_scale_drop,
    format_scale_drop,
    msa_block_attention_flops,
    padded_grids,
    parse_scale_drop,
    token_grids,
    window_shapes,
)


@pytest.mark.parametrize(
    ("resolution", "grids"),
    [
        (16, [(1, 1)]),
        (17, [(2, 2)]),
        (256, [(16, 16)]),
        (257, [(17, 17), (5, 5)]),
        (1024, [(64, 64), (16, 16)]),
        (1025, [(65, 65), (17, 17), (5, 5)]),
        (1100, [(69, 69), (18, 18), (5, 5)]),
        (1536, [(96, 96), (24, 24), (6, 6)]),
        (2048, [(128, 128), (32, 32), (8, 8)]),
        (4096, [(256, 256), (64, 64), (16, 16)]),
        ("16x4096", [(1, 256), (1, 64), (1, 16)]),
        ("300x1700", [(19, 107), (5, 27), (2, 7)]),
    ],
)
def test_grids_are_pooled_until_both_sides_fit_one_window(resolution: int | str, grids: list[tuple[int, int]]) -> None:
    assert list(token_grids(parse_resolution(resolution))) == grids


def test_patch_window_and_stride_are_options() -> None:
    grids = token_grids(Resolution(384, 384), patch_size=4, window_size=16, downsample_stride=8)
    assert grids == ((96, 96), (12, 12))


@pytest.mark.parametrize("resolution", [Resolution(15, 15), Resolution(15, 2000), Resolution(2000, 8)])
def test_an_image_smaller_than_a_patch_is_refused(resolution: Resolution) -> None:
    with pytest.raises(InvalidWorkloadError, match=rf"{resolution} px is smaller than one patch: give at least 16 px"):
        token_grids(resolution)


@pytest.mark.parametrize(("window", "stride"), [(16, 3), (0, 4), (2, 4), (6, 4)])
def test_a_window_that_is_no_multiple_of_the_stride_is_refused(window: int, stride: int) -> None:
    with pytest.raises(InvalidOptionError, match=f"must be a multiple of downsample_stride {stride}, got {window}"):
        token_grids(Resolution(1024, 1024), window_size=window, downsample_stride=stride)


@pytest.mark.parametrize("stride", [-2, 0, 1])
def test_a_stride_that_shrinks_nothing_is_refused(stride: int) -> None:
    with pytest.raises(InvalidOptionError, match="downsample_stride must be at least 2"):
        token_grids(Resolution(1024, 1024), downsample_stride=stride)


def test_windows_are_as_small_as_the_grid_on_each_axis() -> None:
    grids = token_grids(Resolution(300, 1700))
    assert window_shapes(grids, 16) == ((16, 16), (5, 16), (2, 7))
    assert padded_grids(grids, 16) == ((32, 112), (5, 32), (2, 7))


def test_grids_of_whole_windows_are_not_padded() -> None:
    grids = token_grids(Resolution(2048, 2048))
    assert padded_grids(grids, 16) == grids


@pytest.mark.parametrize(
    ("text", "depths"), [("2-10", (2, 10)), ("12", (12,)), (" 2-2-8 ", (2, 2, 8)), ("none", None), ("None", None)]
)
def test_scale_drops_are_read(text: str, depths: tuple[int, ...] | None) -> None:
    assert parse_scale_drop(text) == depths


@pytest.mark.parametrize("depths", [(2, 10), (12,), (1, 1, 1, 9), None])
def test_a_written_scale_drop_reads_the_same(depths: tuple[int, ...] | None) -> None:
    assert parse_scale_drop(format_scale_drop(depths)) == depths


@pytest.mark.parametrize("text", ["", "-", "2-", "2,10", "2--10", "a-b", "2-10-", "-1-3", "1.5", "{2, 10}", "²-3"])
def test_other_text_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ScaleDropError, match="2-10 or 2-2-8, or none"):
        parse_scale_drop(text)


@pytest.mark.parametrize("text", ["0", "2-0", "0-12"])
def test_a_stage_without_blocks_is_refused(text: str) -> None:
    with pytest.raises(ScaleDropError, match=f"'{text}' is not a scale drop: every stage needs at least 1 block"):
        parse_scale_drop(text)


@pytest.mark.parametrize(
    ("scales", "depths"), [(1, (12,)), (2, (2, 10)), (3, (2, 2, 8)), (4, (2, 2, 2, 6)), (6, (2, 2, 2, 2, 2, 2))]
)
def test_the_default_gives_two_blocks_to_every_scale_but_the_last(scales: int, depths: tuple[int, ...]) -> None:
    assert default_scale_drop(scales) == depths


def test_more_scales_than_blocks_have_no_default() -> None:
    with pytest.raises(ScaleDropError, match=r"no default scale drop for 7 scales.*Give one with 7 entries, or none"):
        default_scale_drop(7)


def test_a_scale_drop_of_the_wrong_length_names_the_number_of_scales() -> None:
    check_scale_drop((2, 10), 2, "atlas_s at 1024 px")
    check_scale_drop(None, 3, "atlas_s at 2048 px")
    with pytest.raises(ScaleDropError) as refusal:
        check_scale_drop((2, 10), 3, "atlas_s at 2048 px")
    assert str(refusal.value) == (
        "Scale drop 2-10 has 2 entries but atlas_s at 2048 px has 3 scales: give one entry for each scale, or none."
    )


def test_attention_flops_of_one_window_are_those_of_a_plain_attention() -> None:
    assert msa_block_attention_flops([(16, 16)], 16, 384) == 4 * 384 * 256 * 256


def test_attention_flops_of_two_scales_are_the_sum_of_what_each_token_reads() -> None:
    top_down = 4096 * (256 + 256) + 256 * 256
    bottom_up = 256 * 256
    grids = [(64, 64), (16, 16)]
    assert msa_block_attention_flops(grids, 16, 384) == 4 * 384 * (top_down + bottom_up)
    assert msa_block_attention_flops(grids, 16, 384, communication="top_down") == 4 * 384 * top_down
    alone = 4096 * 256 + 256 * 256
    assert msa_block_attention_flops(grids, 16, 384, communication="none") == 4 * 384 * alone
    assert msa_block_attention_flops(grids, 16, 384, communication="bottom_up") == 4 * 384 * (alone + bottom_up)


@pytest.mark.parametrize(
    ("grids", "window", "gigaflops"),
    [
        ([(96, 96), (12, 12)], 16, 11.502),
        ([(96, 96), (24, 24), (6, 6)], 8, 4.944),
        ([(96, 96), (24, 24), (6, 6)], 12, 9.766),
        ([(96, 96), (24, 24)], 24, 34.653),
    ],
)
def test_attention_flops_of_the_block_comparison(grids: list[tuple[int, int]], window: int, gigaflops: float) -> None:
    assert msa_block_attention_flops(grids, window, 768) / 1e9 == pytest.approx(gigaflops, abs=5e-4)


def test_later_stages_pay_for_the_scales_they_kept() -> None:
    grids = [(64, 64), (16, 16)]
    first, second = msa_block_attention_flops(grids, 16, 384), msa_block_attention_flops(grids[1:], 16, 384)
    assert atlas_attention_flops(grids, 16, 384, (2, 10)) == 2 * first + 10 * second
    assert atlas_attention_flops(grids, 16, 384, (12,)) == 12 * first


def test_padded_tokens_count_because_they_are_computed() -> None:
    # 17 tokens a side are padded to two windows of 16; the 5 x 5 grid under them is one window.
    top_down = 32 * 32 * (256 + 25) + 25 * 25
    assert msa_block_attention_flops([(17, 17), (5, 5)], 16, 8) == 4 * 8 * (top_down + 25 * 256)
