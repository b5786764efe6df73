"""`msam.integrations.transformers` beyond the conformance runs: keyword tensors, resuming, its optimizer, refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import AGM, MSAM, MSES, Joint, Method, MMPareto
from zoo import same

transformers = pytest.importorskip("transformers")
if transformers:
    from msam.integrations.transformers import MethodMixin, MethodTrainer

pytestmark = pytest.mark.filterwarnings("ignore")  # the Trainer's advice on pinned memory and the like

SAMPLES, CLASSES, WORDS = 48, 3, 11
KEYWORDS = ("pixel_values", "input_ids")


class Text(nn.Module):
    """Mean of the embeddings of words that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 6)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return (self.words(ids) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class Keywords(nn.Module):
    """As a Hugging Face model: keyword tensors in, logits by name out, an attention mask that is no modality."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.vision, self.text, self.head = nn.Linear(5, 6), Text(), nn.Linear(12, CLASSES)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        both = torch.cat([self.vision(pixel_values).tanh(), self.text(input_ids, attention_mask)], 1)
        logits = self.head(both)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def samples() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(SAMPLES) % CLASSES
    pixels = torch.randn(SAMPLES, 5, generator=generator) + labels[:, None]
    ids = torch.randint(1, WORDS, (SAMPLES, 4), generator=generator)
    mask = torch.ones(SAMPLES, 4)
    columns = {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask, "labels": labels}
    return [{name: column[row] for name, column in columns.items()} for row in range(SAMPLES)]


def trainer(folder: Path, method: Method, net: nn.Module | None = None, **options: Any) -> MethodTrainer:
    net = net or Keywords()
    criterion = options.pop("compute_loss_func", None)
    if "label_smoothing_factor" in options:
        net.config = SimpleNamespace()  # type: ignore[assignment]  # the Trainer looks into it
    settings = {
        "use_cpu": True,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 3,
        "save_strategy": "epoch",
        "learning_rate": 0.05,
        "report_to": "none",
        "disable_tqdm": True,
        **options,
    }
    return MethodTrainer(
        net,
        transformers.TrainingArguments(str(folder), **settings),
        train_dataset=samples(),  # type: ignore[arg-type]
        eval_dataset=samples(),  # type: ignore[arg-type]
        compute_loss_func=criterion,
        method=method,
        encoders=dict(zip(KEYWORDS, (net.vision, net.text), strict=True)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("make", [lambda: MSAM(0.1, every=2), lambda: MSAM(0.1, scope="encoder"), Joint])
def test_keyword_models_learn(tmp_path: Path, make: Any) -> None:
    engine = trainer(tmp_path, make(), save_strategy="no", num_train_epochs=6)
    before = engine.evaluate()["eval_loss"]
    engine.train()
    assert engine.evaluate()["eval_loss"] < 0.7 * before


@pytest.mark.parametrize("make", [lambda: MSAM(0.1, every=4), lambda: AGM(1.5)])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, make: Any) -> None:
    whole = Keywords()
    trainer(tmp_path, make(), whole).train()
    first = min(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    rest, method = Keywords(), make()
    trainer(tmp_path / "rest", method, rest).train(resume_from_checkpoint=str(first))
    assert same(dict(whole.named_parameters()), dict(rest.named_parameters()))
    assert method.get_extra_state()["batches"] == 3 * SAMPLES // 8


def test_parameters_of_a_method_join_the_optimizer(tmp_path: Path) -> None:
    method = MMPareto(dict.fromkeys(KEYWORDS, 6), CLASSES)  # a classifier on each encoder's output
    engine = trainer(tmp_path, method, save_strategy="no")
    groups = engine.create_optimizer().param_groups
    assert {id(p) for p in method.parameters()} == {id(p) for p in groups[-1]["params"]}
    assert engine.create_optimizer().param_groups == groups  # asked again, nothing is added
    before = {name: weight.detach().clone() for name, weight in method.named_parameters()}
    engine.train()
    assert not any(torch.equal(before[name], weight) for name, weight in method.named_parameters())


def test_the_mixin_puts_a_method_into_a_trainer_of_ones_own(tmp_path: Path) -> None:
    class Mine(MethodMixin, transformers.Seq2SeqTrainer):  # type: ignore[misc, name-defined]
        pass

    assert Mine.__mro__.index(MethodMixin) < Mine.__mro__.index(transformers.Seq2SeqTrainer)
    settings = transformers.Seq2SeqTrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    assert Mine(Keywords(), settings, method=Joint(), train_dataset=samples()).method.state_dict() == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is not seen by a method"),
        ({"compute_loss_func": F.cross_entropy}, "compute_loss_func is not seen by a method"),
        ({"fp16": True}, r"The Trainer has no fp16 on this device and would train in float32; use bf16=True\."),
        ({"method": MSES(patience=1)}, "MSES learns from a set after each epoch, which the Trainer does not offer"),
    ],
)
def test_what_would_be_wrong_is_refused_in_a_sentence(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    method = options.pop("method", Joint())
    with pytest.raises(ValueError, match=sentence):
        trainer(tmp_path, method, **options)


def test_labels_that_are_missing_are_said(tmp_path: Path) -> None:
    engine = trainer(tmp_path, Joint(), label_names=["answer"], remove_unused_columns=False)
    with pytest.raises(ValueError, match="Expected the labels under 'answer', found"):
        engine.train()
