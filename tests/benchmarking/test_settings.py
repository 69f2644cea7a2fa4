import pytest

from senet.benchmarking.settings import Settings, shape_of, times
from senet.errors import UsageError


@pytest.mark.parametrize("text", ["8,256,56,56", "8x256x56x56"])
def test_a_shape_is_four_numbers(text):
    assert shape_of(text) == (8, 256, 56, 56)
    assert times(shape_of(text)) == "8 x 256x56x56"


@pytest.mark.parametrize("text", ["8,256,56", "8,256,0,56", "a,b,c,d", ""])
def test_another_is_refused(text):
    with pytest.raises(UsageError, match=r"four numbers N,C,H,W such as 8,256,56,56, got"):
        shape_of(text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "train"}, "unknown mode 'train'.*allowed: training, inference"),
        ({"dtype": "f32"}, "unknown dtype 'f32'.*allowed: fp32, bf16, fp16"),
        ({"rounds": 0}, "rounds must be an integer of at least 1"),
        ({"max_seconds": 0.0}, "max_seconds must be positive"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Settings(**wrong)
