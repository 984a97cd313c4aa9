"""Files in the layout of transformers load into our networks, every tensor in its place."""

from __future__ import annotations

import torch
from sam_cases import tiny_sam_model

from anymask.models.load import load

SAME = {
    "image_encoder.blocks.2.attn.qkv.weight": "vision_encoder.layers.2.attn.qkv.weight",
    "image_encoder.neck.3.bias": "vision_encoder.neck.layer_norm2.bias",
    "prompt_encoder.point_embeddings.3.weight": "prompt_encoder.point_embed.3.weight",
    "prompt_encoder.mask_downscaling.6.weight": "prompt_encoder.mask_embed.conv3.weight",
    "mask_decoder.transformer.layers.1.norm4.weight": "mask_decoder.transformer.layers.1.layer_norm4.weight",
    "mask_decoder.iou_prediction_head.layers.1.weight": "mask_decoder.iou_prediction_head.layers.0.weight",
    "mask_decoder.output_hypernetworks_mlps.2.layers.2.bias": (
        "mask_decoder.output_hypernetworks_mlps.2.proj_out.bias"
    ),
}


def test_hugging_face_files_load_as_they_are(tmp_path, peer):
    transformers = peer("transformers")
    theirs = tiny_sam_model(transformers)
    theirs.save_pretrained(tmp_path)
    ours = load(weights=tmp_path / "model.safetensors")
    assert ours.card.name == "sam-tiny-test"
    # a key of each part, by the names that both sides document
    mine, other = ours.state_dict(), theirs.state_dict()
    for name, foreign in SAME.items():
        assert torch.equal(mine[name], other[foreign]), name
