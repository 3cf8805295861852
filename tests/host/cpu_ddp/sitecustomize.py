"""Multi-GPU training of Ultralytics on two processes of the CPU: replaces what insists on CUDA, and nothing else.

Python imports this at the start of every process that has its folder on PYTHONPATH. Each rank leaves its parameters in
rank0-start.pt, rank0-end.pt and so on beside the run's folder.
"""

from _yolo_attn_autoload import watch

RANKS = 2


class Devices(str):
    """The device "cpu", of which up to 8.3.100 the trainer counts as many as it is split into."""

    def split(self, *_args):
        return [str(self)] * RANKS

    def __reduce__(self):
        return str, (str(self),)


def replace():
    import torch
    from torch import distributed, nn
    from ultralytics.engine import trainer, validator
    from ultralytics.utils import LOCAL_RANK, RANK

    begin, backend, barrier = trainer.BaseTrainer.__init__, validator.AutoBackend, distributed.barrier
    parallel = nn.parallel.DistributedDataParallel.__init__

    def init(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self.args.device = Devices(self.args.device)
        self.world_size, self.ddp = RANKS, LOCAL_RANK == -1

    def setup_ddp(self, *_world_size):
        distributed.init_process_group("gloo", rank=RANK, world_size=RANKS)
        self.add_callback("on_train_start", begun)

    def begun(trainer):
        keep(trainer, "start")
        trainer.add_callback("teardown", lambda trainer: keep(trainer, "end"))

    def keep(trainer, moment):
        parameters = {k: v.detach() for k, v in trainer.model.module.named_parameters()}
        torch.save(parameters, trainer.save_dir.parent / f"rank{RANK}-{moment}.pt")

    def parallelize(self, *args, device_ids, **kwargs):
        parallel(self, *args, **kwargs)

    trainer.BaseTrainer.__init__ = init
    trainer.BaseTrainer._setup_ddp = setup_ddp
    nn.parallel.DistributedDataParallel.__init__ = parallelize
    distributed.barrier = lambda *args, device_ids=None, **kwargs: barrier(*args, **kwargs)  # up to 8.3.100
    torch.cuda.current_device = lambda: 0  # of the last validation, from 8.4.0
    validator.AutoBackend = lambda *args, device, **kwargs: backend(*args, device=torch.device("cpu"), **kwargs)


watch("ultralytics.models.yolo.detect.train", replace)  # which imports the trainer, and nobody else waits for it
