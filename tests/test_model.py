import pytest
import torch
from conftest import make_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, DistilBertModel, GPT2Config

from classifier.errors import ClassifierError
from classifier.model import MultiTaskDistilBert, bert_to_distilbert, load_encoder


@pytest.fixture
def bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    return BertModel(config, add_pooling_layer=False).eval()


def padded_batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(4, 11, dtype=torch.long)
    mask[0, 6:] = mask[2, 3:] = 0
    return torch.randint(1, 50, (4, 11)) * mask, mask


@torch.inference_mode()
def test_bert_becomes_distilbert_without_loss(bert):
    ids, mask = padded_batch()
    expected = bert(ids, attention_mask=mask).last_hidden_state
    found = bert_to_distilbert(bert)(ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-5)


def test_a_bert_that_would_lose_something_is_refused(bert):
    bert.config.layer_norm_eps = 1e-5
    with pytest.raises(ClassifierError, match="without loss"):
        bert_to_distilbert(bert)


@torch.inference_mode()
def test_bert_and_distilbert_checkpoints_both_load(bert, tmp_path):
    ids, mask = padded_batch()
    bert.save_pretrained(tmp_path / "bert")
    converted = load_encoder(str(tmp_path / "bert"))
    converted.save_pretrained(tmp_path / "distilbert")
    loaded = load_encoder(str(tmp_path / "distilbert"))
    assert isinstance(loaded, DistilBertModel)
    assert torch.equal(loaded(ids, mask).last_hidden_state, converted(ids, mask).last_hidden_state)


def test_an_encoder_that_lacks_weights_is_refused(bert, tmp_path):
    bert_to_distilbert(bert).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({key: value for key, value in weights.items() if "layer.1." not in key}, tmp_path / "model.safetensors")
    with pytest.raises(ClassifierError, match=r"16 of its weights are missing, such as 'transformer\.layer\.1"):
        load_encoder(str(tmp_path))


def test_another_architecture_is_refused_by_name(tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ClassifierError, match="'gpt2' encoder; expected DistilBERT"):
        load_encoder(str(tmp_path))


def test_a_missing_encoder_says_what_to_give(tmp_path):
    with pytest.raises(ClassifierError, match=r"give a folder with config\.json"):
        load_encoder(str(tmp_path / "nothing"))


@torch.inference_mode()
def test_new_heads_on_an_encoder_keep_its_vectors(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    ids, mask = padded_batch()
    model = MultiTaskDistilBert.from_encoder(str(tmp_path), {"colour": 3, "size": 2}).eval()
    output = model(ids, mask)
    hidden = bert(ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert torch.allclose(output["pooled"], mean, atol=1e-5)
    assert (output["colour"].shape, output["size"].shape) == ((4, 3), (4, 2))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@torch.inference_mode()
def test_padding_changes_no_answer(pooling):
    model = make_model(pooling=pooling)
    ids, mask = padded_batch()
    together, alone = model(ids, mask), model(ids[:1, :6], mask[:1, :6])
    assert all(torch.allclose(together[name][:1], alone[name], atol=1e-5) for name in alone)


@torch.inference_mode()
def test_a_saved_model_answers_the_same(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    loaded = MultiTaskDistilBert.from_pretrained(tmp_path).eval()
    ids, mask = padded_batch()
    before, after = tiny_model(ids, mask), loaded(ids, mask)
    assert all(torch.equal(before[name], after[name]) for name in before)
