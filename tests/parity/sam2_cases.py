"""SAM 2 of the official package and of transformers, at the size of our row for tests, with noise for weights."""

from __future__ import annotations

import numpy as np
import torch

SIDE, DIM, DEPTH, HIDDEN = 128, 128, 2, 256
TRUNK = {"dim": 16, "stages": (1, 2, 3, 2), "windows": (8, 4, 6, 3), "global": (4,), "background": (4, 4)}
WIDTHS = [128, 64, 32, 16]


def official(peer, version, video=False, **more):
    """SAM 2 through the official classes; `more` goes to the model's class."""
    position = peer("sam2.modeling.position_encoding").PositionEmbeddingSine
    encoders = peer("sam2.modeling.backbones.image_encoder")
    attention, rope = peer("sam2.modeling.memory_attention"), peer("sam2.modeling.sam.transformer").RoPEAttention
    memory = peer("sam2.modeling.memory_encoder")
    trunk = peer("sam2.modeling.backbones.hieradet").Hiera(
        embed_dim=TRUNK["dim"],
        num_heads=1,
        stages=TRUNK["stages"],
        global_att_blocks=TRUNK["global"],
        window_pos_embed_bkg_spatial_size=TRUNK["background"],
        window_spec=TRUNK["windows"],
    )
    neck = encoders.FpnNeck(position(DIM), DIM, WIDTHS, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    grid = [SIDE // 16, SIDE // 16]
    turning = {"rope_theta": 10000.0, "feat_sizes": grid, "embedding_dim": DIM, "num_heads": 1, "downsample_rate": 1}
    layer = attention.MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=HIDDEN,
        dropout=0.1,
        pos_enc_at_attn=False,
        self_attention=rope(**turning),
        d_model=DIM,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=rope(**turning, rope_k_repeat=True, kv_in_dim=64),
    )
    newer = version == "2.1"
    settings = {
        "image_encoder": encoders.ImageEncoder(trunk, neck, scalp=1),
        "memory_attention": attention.MemoryAttention(DIM, True, layer, DEPTH),
        "memory_encoder": memory.MemoryEncoder(
            out_dim=64,
            in_dim=DIM,
            position_encoding=position(64),
            mask_downsampler=memory.MaskDownSampler(DIM, kernel_size=3, stride=2, padding=1),
            fuser=memory.Fuser(memory.CXBlock(DIM), num_layers=2),
        ),
        "num_maskmem": 7,
        "image_size": SIDE,
        "sigmoid_scale_for_mem_enc": 20.0,
        "sigmoid_bias_for_mem_enc": -10.0,
        "use_mask_input_as_output_without_sam": True,
        "directly_add_no_mem_embed": True,
        "no_obj_embed_spatial": newer,
        "use_high_res_features_in_sam": True,
        "multimask_output_in_sam": True,
        "iou_prediction_use_sigmoid": True,
        "use_obj_ptrs_in_encoder": True,
        "add_tpos_enc_to_obj_ptrs": newer,
        "proj_tpos_enc_in_obj_ptrs": newer,
        "use_signed_tpos_enc_to_obj_ptrs": newer,
        "only_obj_ptrs_in_the_past_for_eval": True,
        "pred_obj_scores": True,
        "pred_obj_scores_mlp": True,
        "fixed_no_obj_ptr": True,
        "multimask_output_for_tracking": True,
        "use_multimask_token_for_obj_ptr": True,
        "multimask_min_pt_num": 0,
        "multimask_max_pt_num": 1,
        "use_mlp_for_obj_ptr_proj": True,
        "binarize_mask_from_pts_for_mem_enc": True,
        # what build_sam2 switches on by default
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    }
    kind = peer("sam2.sam2_video_predictor").SAM2VideoPredictor if video else peer("sam2.modeling.sam2_base").SAM2Base
    return kind(**settings, **more)


def transformers_config(transformers, version, image_only=False):
    """The configuration of Sam2Model or Sam2VideoModel of this size."""
    grids = [[SIDE // stride] * 2 for stride in (4, 8, 16)]
    trunk = transformers.Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=list(TRUNK["stages"]),
        embed_dim_per_stage=WIDTHS[::-1],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=list(TRUNK["windows"]),
        global_attention_blocks=list(TRUNK["global"]),
        window_positional_embedding_background_size=list(TRUNK["background"]),
    )
    parts = {
        "vision_config": transformers.Sam2VisionConfig(
            backbone_config=trunk, backbone_channel_list=WIDTHS, backbone_feature_sizes=grids, fpn_hidden_size=DIM
        ),
        "prompt_encoder_config": {"hidden_size": DIM, "image_size": SIDE},
        "mask_decoder_config": {
            "hidden_size": DIM,
            "mlp_dim": 2048,
            "num_attention_heads": 8,
            "iou_head_hidden_dim": 256,
        },
    }
    if image_only:
        return transformers.Sam2Config(**parts)
    newer = version == "2.1"
    return transformers.Sam2VideoConfig(
        **parts,
        image_size=SIDE,
        memory_attention_hidden_size=DIM,
        memory_attention_num_layers=DEPTH,
        memory_attention_feed_forward_hidden_size=HIDDEN,
        memory_attention_rope_feat_sizes=grids[-1],
        memory_encoder_hidden_size=DIM,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=DIM,
        memory_fuser_embed_dim=DIM,
        memory_fuser_intermediate_dim=4 * DIM,
        enable_occlusion_spatial_embedding=newer,
        enable_temporal_pos_encoding_for_object_pointers=newer,
    )


def picture(size=(90, 140), seed=0, shift=0.0):
    """Waves and noise, uint8 [H, W, 3]; shift moves the waves, so that frames follow each other."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = 127 + 90 * np.sin((x + shift) / 9)[..., None] * np.cos((y - shift / 2) / 13)[..., None]
    return (waves + rng.normal(0, 12, (*size, 3))).clip(0, 255).astype(np.uint8)


def relative(ours, theirs):
    """The largest difference, as a share of the largest number."""
    ours, theirs = torch.as_tensor(ours).float(), torch.as_tensor(theirs).float()
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())
