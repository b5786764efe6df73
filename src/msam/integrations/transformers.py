"""Any method inside the Hugging Face Trainer, for models that take keyword tensors.

    trainer = MethodTrainer(
        model,                                      # called as model(pixel_values=..., input_ids=..., ...)
        TrainingArguments("out", gradient_accumulation_steps=4, bf16=True),
        train_dataset=dataset,                      # samples with the keywords of the model and "labels"
        method=MSAM(rho=0.05),
        encoders={"pixel_values": model.vision, "input_ids": model.text},
    )
    trainer.train(resume_from_checkpoint=True)

A modality is a keyword; `encoders` says which keywords are modalities, and which parameters are whose. Other keywords
(an attention mask) are passed on as they are. `MethodMixin` does the same to a Trainer of yours:

    class Mine(MethodMixin, Seq2SeqTrainer): ...
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, get_last_checkpoint

from msam.features import FeatureHook
from msam.method import Backward, Method
from msam.model_state import training
from msam.types import Criterion, Inputs

STATE = "method.pt"
"""What a checkpoint folder holds of the method."""


class MethodMixin(Trainer):
    """Puts a method in the place of the Trainer's backward pass.

    Accumulation, clipping, loss scaling, mixed precision, schedulers and data-parallel training are as the Trainer does
    them. The loss is the criterion of the logits and the labels, a mean over each micro-batch; the model is called
    without labels. What the method remembers is in every checkpoint; parameters of its own join the optimizer as its
    last group, and are not among those that the Trainer clips. `next_epoch` is called after each epoch.

    Args:
        arguments: those of the Trainer.
        method: what turns a batch into gradients.
        criterion: (logits, labels) -> scalar loss.
        encoders: keyword -> the module that encodes it, for a model that has no attribute `encoders`.
        features: what the feature of an encoder's output is, see `msam.features`.
        options: those of the Trainer.

    Raises:
        ValueError: if the method does not fit the model, learns from a set after each epoch, or the settings ask for
            something that would be wrong: label smoothing, a loss function of the Trainer's, FSDP, DeepSpeed,
            `DataParallel`, fp16 where there is none.
    """

    def __init__(
        self,
        *arguments: Any,
        method: Method,
        criterion: Criterion = F.cross_entropy,
        encoders: Mapping[str, nn.Module] | None = None,
        features: FeatureHook | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.method, self.criterion, self.encoders, self.features = method, criterion, encoders, features
        self._refuse()
        assert self.model is not None
        self.bound = self._bind(self.model)
        self.add_callback(_Following(self))

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One micro-batch: the method's gradient, divided as the Trainer divides it.

        Raises:
            ValueError: if a batch has no labels.
        """
        training(model, self.optimizer)
        inputs = dict(self._prepare_inputs(inputs))
        name = next(iter(self.label_names), "labels")
        if name not in inputs:
            raise ValueError(f"Expected the labels under {name!r}, found {list(inputs)}; set label_names.")
        if self.bound.objective.model is not model:
            self.bound = self._bind(model)
        outcome = self.bound(inputs, inputs.pop(name))
        return outcome.loss / self.current_gradient_accumulation_steps

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer, with the method's own parameters as its last group."""
        optimizer = super().create_optimizer(model)
        parameters, known = list(self.method.parameters()), {id(p) for g in optimizer.param_groups for p in g["params"]}
        if parameters and id(parameters[0]) not in known:
            optimizer.add_param_group({"params": parameters})
        return optimizer

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Trains; from a checkpoint with what the method remembered then."""
        place = resume_from_checkpoint
        if place is True:
            place = get_last_checkpoint(str(self.args.output_dir))  # type: ignore[no-untyped-call]
        if place:
            state = torch.load(Path(place) / STATE, map_location=self.args.device, weights_only=True)
            self.method.load_state_dict(state)
        return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _bind(self, model: nn.Module) -> Backward:
        return self.method.on(
            model,
            self.criterion,
            encoders=self.encoders,
            call=_logits,
            backward=self._backpropagate,
            context=self.accelerator.autocast,
            features=self.features,
        )

    def _backpropagate(self, loss: Tensor) -> None:
        backpropagate = self.accelerator.backward
        backpropagate(loss / self.current_gradient_accumulation_steps)

    def _refuse(self) -> None:
        kind, name = self.accelerator.distributed_type.value, type(self.method).__name__
        unseen = "is not seen by a method, which makes its own passes; make it part of criterion."
        args, tested = self.args, {"NO", "MULTI_CPU", "MULTI_GPU"}
        wrong = [
            (args.label_smoothing_factor, f"label_smoothing_factor {unseen}"),
            (self.compute_loss_func, f"compute_loss_func {unseen}"),
            (kind not in tested, f"{kind} is not supported: it would share each pass; start one process a device."),
            (args.n_gpu > 1, "Several devices in one process are not supported; start one process a device."),
            (
                args.fp16 and self.accelerator.scaler is None,
                "The Trainer has no fp16 on this device and would train in float32; use bf16=True.",
            ),
            (
                self.method.learns_from,
                f"{name} learns from a set after each epoch, which the Trainer does not offer; "
                "use msam.integrations.lightning.",
            ),
        ]
        for broken, sentence in wrong:
            if broken:
                raise ValueError(sentence)


class MethodTrainer(MethodMixin, Trainer):
    """The Trainer, with a method; see `MethodMixin`."""


class _Following(TrainerCallback):
    """Writes the method's state into each checkpoint folder, and tells the method that an epoch has ended."""

    def __init__(self, trainer: MethodMixin) -> None:
        self.trainer = trainer

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if args.should_save:
            folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            torch.save(self.trainer.method.state_dict(), folder / STATE)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.trainer.bound.next_epoch()


def _logits(called: Any, inputs: Inputs) -> Tensor:
    """How an objective calls a keyword model, which returns logits alone, first of a tuple, or by name."""
    output = called(**inputs)
    return output if isinstance(output, Tensor) else output["logits"] if isinstance(output, Mapping) else output[0]
