"""What the adapters need of packages that are not installed here, by their documented contracts."""

import types

import numpy as np


class Tensor:
    """As much of torch.Tensor as an adapter may use; its device is only a name."""

    def __init__(self, array, device):
        self.array, self.device = np.asarray(array), device

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return Tensor(self.array[index], self.device)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def detach(self):
        return self

    def float(self):
        return Tensor(self.array.astype(np.float32), self.device)

    def cpu(self):
        return Tensor(self.array, "cpu")

    def numpy(self):
        assert self.device == "cpu", "torch has arrays on the host alone"
        return self.array


def torch():
    """torch, with tensors of NumPy."""
    module = types.ModuleType("torch")
    module.Tensor = Tensor
    module.tensor = lambda array, device="cpu": Tensor(np.array(array), device)
    return module


class HlocModel:
    """hloc.utils.base_model.BaseModel: merges configurations, and checks what is required."""

    default_conf, required_inputs = {}, ()

    def __init__(self, conf):
        self.conf = {**self.default_conf, **conf}
        self._init(self.conf)

    def __call__(self, data):
        assert all(key in data for key in self.required_inputs)
        return self._forward(data)


class GlueFactoryModel(HlocModel):
    """gluefactory.models.base_model.BaseModel, which has no other entries than it is told of."""

    base_default_conf = {"name": None, "trainable": True}  # noqa: RUF012
    required_data_keys = ()

    def __init__(self, conf):
        known = self.base_default_conf | self.default_conf
        assert set(conf) <= set(known)
        super().__init__(known | conf)

    def __call__(self, data):
        assert all(key in data for key in self.required_data_keys)
        return self._forward(data)


def modules(name, **contents):
    """The modules of a dotted name, the last one with contents, as sys.modules has them."""
    found, parts = {}, name.split(".")
    for end in range(1, len(parts) + 1):
        module = types.ModuleType(".".join(parts[:end]))
        module.__path__ = []
        if end > 1:
            setattr(found[".".join(parts[: end - 1])], parts[end - 1], module)
        found[module.__name__] = module
    vars(module).update(contents)
    return found
