"""Matrices: as exact as fp32 products are, and a row's product does not notice its neighbours."""

from __future__ import annotations

import pytest
import torch

from parley.engine.matrix import FEW_ROWS, MOST_ROWS, Matrix, exact_path, row_floor

SHAPES = ((48, 48), (211, 60), (98, 60), (60, 98), (512, 1408), (1024, 300))


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_row_does_not_notice_its_neighbours(outputs: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(outputs, inputs, generator=generator)
    rows = torch.randn(600, inputs, generator=generator)
    matrix = Matrix(weight, torch.float32, exact=True)
    whole = matrix(rows)
    torch.testing.assert_close(whole, rows @ weight.t(), atol=1e-3, rtol=1e-4)
    for count in (*range(1, 40), 63, 64, 65, 127, 200, 255, 256, 257, 300, 511, 513, 599):
        assert torch.equal(matrix(rows[:count]), whole[:count]), count
        assert torch.equal(matrix(rows[-count:]), whole[-count:]), count
    mixed = torch.randperm(600, generator=generator)
    assert torch.equal(matrix(rows[mixed]), whole[mixed])


def test_the_floor_is_where_products_begin_to_agree() -> None:
    floor = row_floor(torch.empty(211, 60), torch.float32, packed=False)
    assert 1 <= floor <= MOST_ROWS
    packed, chosen = exact_path(211, 60, torch.float32, (torch.device("cpu"), torch.get_num_threads()))
    assert chosen <= floor or packed


@pytest.mark.parametrize("shape", [(96, 48), (1024, 300)])
def test_bfloat16_products_are_bfloat16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    weight, x = torch.randn(shape, generator=generator), torch.randn(5, shape[1], generator=generator)
    found = Matrix(weight, torch.bfloat16, exact=False)(x)
    assert found.dtype is torch.bfloat16
    error = (found.float() - x @ weight.t()).norm() / (x @ weight.t()).norm()
    assert 1e-4 < float(error) < 2e-2


def test_int8_products_are_within_a_hundredth() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 128, generator=generator) * torch.logspace(-3, 1, 96)[:, None]
    weight[7] = 0.0
    x = torch.randn(FEW_ROWS + 3, 128, generator=generator)
    product = Matrix(weight, torch.int8, exact=False)
    expected = x @ weight.T
    for rows in (1, FEW_ROWS, FEW_ROWS + 3):  # both ways to multiply
        found = product(x[:rows]).float()
        assert torch.equal(found[:, 7], torch.zeros(rows))
        errors = (found - expected[:rows]).square().mean(0).sqrt() / weight.norm(dim=1).clamp(min=1e-9)
        assert 1e-4 < float(errors.median()) < 1e-2
        assert float(errors.max()) < 3e-2
    with pytest.raises(ValueError, match="not exact"):
        Matrix(weight, torch.int8, exact=True)


def test_a_matrix_does_not_follow_its_weight() -> None:
    for shape in ((4, 3), (1024, 300)):
        weight = torch.ones(shape)
        matrix = Matrix(weight, torch.float32, exact=False)
        weight.zero_()
        assert bool((matrix(torch.ones(2, shape[1])) == shape[1]).all())
