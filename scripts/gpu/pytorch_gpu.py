"""Training throughput of PyTorch on a GPU, of networks as torchvision has them (the form for 32x32 pictures where they are that small),
whose definition is here so that torchvision need not be there: channels last, eager and torch.compile, images in the GPU's memory.
Prints one JSON object of images/s. Usage: pytorch_gpu.py resnet18|resnet50 SIDE CLASSES BATCH f32|tf32|bf16|f16"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, channels_in, channels, stride, bottleneck):
        super().__init__()
        if bottleneck:
            out, shapes = 4 * channels, [(channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)]
        else:
            out, shapes = channels, [(channels, 3, stride), (channels, 3, 1)]
        layers, before = [], channels_in
        for i, (width, kernel, step) in enumerate(shapes):
            layers += [nn.Conv2d(before, width, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(width)]
            if i + 1 < len(shapes):
                layers.append(nn.ReLU(inplace=True))
            before = width
        self.body, self.out = nn.Sequential(*layers), out
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet(depths, bottleneck, small, classes):
    stem = [nn.Conv2d(3, 64, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers = stem if small else [*stem, nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, depth in enumerate(depths):
        for i in range(depth):
            layers.append(Residual(before, 64 << stage, 2 if stage > 0 and i == 0 else 1, bottleneck))
            before = layers[-1].out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def build(name, side, classes):
    return resnet([2, 2, 2, 2] if name == "resnet18" else [3, 4, 6, 3], name == "resnet50", side <= 64, classes)


def images_per_second(model, x, y, precision):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "f16")
    kind = {"bf16": torch.bfloat16, "f16": torch.float16}.get(precision)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", kind, enabled=kind is not None):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    start, steps = time.perf_counter(), 20
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return steps * len(x) / (time.perf_counter() - start)


def main():
    name, side, classes, batch, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "f32"
    x = torch.randn(batch, 3, side, side, device="cuda").contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, classes, (batch,), device="cuda")
    found = {"version": torch.__version__}
    for mode in ("eager", "compile"):
        model = build(name, side, classes).cuda().to(memory_format=torch.channels_last)
        try:
            found[mode] = images_per_second(torch.compile(model) if mode == "compile" else model, x, y, precision)
        except Exception as error:  # a compiler that is not there: the other mode counts
            found[f"{mode}_failed"] = str(error).splitlines()[0][:200]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
