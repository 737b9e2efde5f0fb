#!/usr/bin/env python3
"""Writes the gradient tensors of known models, in the order a backward pass makes them.

Usage: make_workloads.py [FOLDER]; FOLDER is where this script lies unless given.

Shapes come from the papers named in each file's header, as the usual implementations (torchvision,
Hugging Face transformers) lay them out. A forward pass uses parameters in the order listed here;
their gradients become ready in the reverse of it. Totals are checked against the published ones, so
a wrong shape cannot go unnoticed.
"""

import pathlib
import sys


def size_of(shape):
    """Elements of a tensor."""
    elements = 1
    for extent in shape:
        elements *= extent
    return elements


def convolution(name, inputs, outputs, window, bias=False):
    """Weights of a convolution with a square window."""
    yield f"{name}.weight", (outputs, inputs, window, window)
    if bias:
        yield f"{name}.bias", (outputs,)


def normalization(name, features):
    """Scale and shift of a batch or layer normalization."""
    yield f"{name}.weight", (features,)
    yield f"{name}.bias", (features,)


def linear(name, inputs, outputs):
    """A fully connected layer."""
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def bottleneck(name, inputs, width, outputs):
    """A residual block of ResNet-50: 1x1, 3x3, 1x1, and a 1x1 on the way round if sizes differ."""
    for number, (before, after, window) in enumerate(
            [(inputs, width, 1), (width, width, 3), (width, outputs, 1)], start=1):
        yield from convolution(f"{name}.conv{number}", before, after, window)
        yield from normalization(f"{name}.bn{number}", after)
    if inputs != outputs:
        yield from convolution(f"{name}.downsample.0", inputs, outputs, 1)
        yield from normalization(f"{name}.downsample.1", outputs)


def resnet50():
    """He et al., table 1, the 50-layer column."""
    yield from convolution("conv1", 3, 64, 7)
    yield from normalization("bn1", 64)
    inputs = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            yield from bottleneck(f"layer{stage}.{block}", inputs, width, 4 * width)
            inputs = 4 * width
    yield from linear("fc", 2048, 1000)


def vgg16():
    """Simonyan and Zisserman, table 1, configuration D; numbers as torchvision has them."""
    inputs = 3
    number = 0
    for stage in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        outputs, repeats = stage
        for _ in range(repeats):
            yield from convolution(f"features.{number}", inputs, outputs, 3, bias=True)
            inputs = outputs
            number += 2  # A ReLU follows each convolution,
        number += 1      # a pooling layer each stage.
    yield from linear("classifier.0", 512 * 7 * 7, 4096)
    yield from linear("classifier.3", 4096, 4096)
    yield from linear("classifier.6", 4096, 1000)


def bert_base():
    """Devlin et al., section 3: L=12, H=768, A=12, 30,522 word pieces, with the pooler."""
    hidden, inner = 768, 3072
    for name, rows in [("word", 30522), ("position", 512), ("token_type", 2)]:
        yield f"embeddings.{name}_embeddings.weight", (rows, hidden)
    yield from normalization("embeddings.LayerNorm", hidden)
    for layer in range(12):
        name = f"encoder.layer.{layer}"
        for part in ["query", "key", "value"]:
            yield from linear(f"{name}.attention.self.{part}", hidden, hidden)
        yield from linear(f"{name}.attention.output.dense", hidden, hidden)
        yield from normalization(f"{name}.attention.output.LayerNorm", hidden)
        yield from linear(f"{name}.intermediate.dense", hidden, inner)
        yield from linear(f"{name}.output.dense", inner, hidden)
        yield from normalization(f"{name}.output.LayerNorm", hidden)
    yield from linear("pooler.dense", hidden, hidden)


# File, model, source, parameters in forward order, published number of tensors and of parameters.
MODELS = [
    ("resnet50", "ResNet-50 for ImageNet",
     "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1",
     resnet50, 161, 25_557_032),
    ("vgg16", "VGG-16 for ImageNet",
     "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, "
     "ICLR 2015, table 1 D", vgg16, 32, 138_357_544),
    ("bert_base", "BERT-base, uncased, with pooler",
     "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019, section 3",
     bert_base, 199, 109_482_240),
]


def text_of(model, source, parameters, tensor_total, element_total):
    """The file of one model; raises ValueError where it does not have the published totals."""
    tensors = [(name, size_of(shape)) for name, shape in parameters()]
    elements = sum(size for _, size in tensors)
    if (len(tensors), elements) != (tensor_total, element_total):
        raise ValueError(f"{model}: {len(tensors)} tensors and {elements} parameters instead of "
                         f"{tensor_total} and {element_total}")
    lines = [f"# {model}: {len(tensors)} tensors, {elements} parameters, in backward order.",
             f"# Source: {source}.",
             "# Made by make_workloads.py; change that, not this.",
             "name,elements"]
    lines += [f"{name},{size}" for name, size in reversed(tensors)]
    return "\n".join(lines) + "\n"


def main():
    """Writes all files."""
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__)
    folder = folder if folder.is_dir() else folder.parent
    for file, *facts in MODELS:
        (folder / f"{file}.csv").write_text(text_of(*facts), encoding="utf-8")


if __name__ == "__main__":
    main()
