"""What torch.export and torch.compile see of an optimised network."""

import torch

import senet
from oracles.optimized import distance, network


def test_export_has_the_commuted_squeeze():
    stage = network("se_resnet50").get_submodule("layer2")
    dynamic = torch.export.Dim.DYNAMIC
    shapes = ({0: dynamic, 2: dynamic, 3: dynamic},)
    program = torch.export.export(senet.optimize(stage), (torch.randn(2, 256, 9, 8),), dynamic_shapes=shapes)
    x = torch.randn(3, 256, 12, 7)
    assert distance(program.module()(x), stage(x)) < 1e-5
    graphs = [module.graph for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    means = [node for graph in graphs for node in graph.nodes if node.target is torch.ops.aten.mean.dim]
    assert [node.all_input_nodes[0].meta["val"].shape[1] for node in means] == [128] * 4  # the inputs of the last convolutions
    assert not any("mkldnn" in str(node.target) or "senet" in str(node.target) for graph in graphs for node in graph.nodes)


def test_compiled():
    stage = network("se_resnet18").get_submodule("layer2")
    compiled = torch.compile(senet.optimize(stage), backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 64, 9, 8)
    with torch.no_grad():
        assert distance(compiled(x), stage(x)) < 1e-5
