import pytest

from senet.benchmarking.settings import Settings, shape_text
from senet.errors import UsageError


def test_a_batch_reads_as_its_number_and_its_shape():
    assert shape_text((8, 256, 56, 56)) == "8 x 256x56x56"


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
