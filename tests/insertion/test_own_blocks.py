import timm
import torch
from monai.networks.blocks.squeeze_and_excitation import ResidualSELayer
from torch import nn

import senet
from senet.blocks.kinds import is_block
from senet.insertion.adopt import is_library_block, with_own_blocks


def test_a_copy_has_our_blocks_and_the_original_keeps_its_own() -> None:
    theirs = timm.create_model("seresnet18").eval()
    ours = with_own_blocks(theirs)
    assert ours is not theirs
    assert sum(is_block(module) for module in ours.modules()) == 8
    assert sum(is_library_block(module) for module in theirs.modules()) == 8
    x = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_a_network_without_equals_of_ours_is_itself() -> None:
    for model in (senet.create_model("se_preresnet20"), nn.Sequential(ResidualSELayer(3, 8))):
        assert with_own_blocks(model) is model
