# A script as people write them for segment-anything; tests/parity/test_sam_official.py runs it under both packages.
import sys

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.utils.transforms import ResizeLongestSide


def show(what, *values):
    print(what, *(f"{float(value):.4f}" for value in values))


sam = sam_model_registry["vit_b"](checkpoint=sys.argv[1])
sam.to(device="cpu")
sam.image_encoder.blocks = sam.image_encoder.blocks[:1]  # an experiment: how far does one block get?
print(type(sam).__name__, len(sam.state_dict()), sum(p.numel() for p in sam.parameters()), sam.training)
print(sorted(sam.state_dict())[::40])
print(sam.mask_threshold, sam.image_format, sam.device, sam.image_encoder.img_size, sam.prompt_encoder.embed_dim)

predictor = SamPredictor(sam)
try:
    predictor.predict(point_coords=np.array([[1, 1]]), point_labels=np.array([1]))
except RuntimeError as error:
    print(error)

y, x = np.mgrid[:120, :180]
image = np.stack([x % 256, y * 2 % 256, (x * y) % 256], -1).astype(np.uint8)
predictor.set_image(image[..., ::-1], image_format="BGR")
predictor.set_image(image)
print(predictor.is_image_set, predictor.original_size, predictor.input_size, predictor.device)
embedding = predictor.get_image_embedding()
print(tuple(embedding.shape), predictor.features is embedding, embedding.dtype)
show("embedding", embedding.mean(), embedding.std(), embedding[0, 5, 7, 9])

masks, scores, logits = predictor.predict(
    point_coords=np.array([[60, 40]]), point_labels=np.array([1]), multimask_output=True
)
print(masks.shape, masks.dtype, scores.shape, scores.dtype, logits.shape, logits.dtype)
show("point", *scores, *masks.mean((1, 2)), *logits.mean((1, 2)))
best = logits[np.argmax(scores)][None]
masks, scores, logits = predictor.predict(
    point_coords=np.array([[60, 40], [90, 100]]),
    point_labels=np.array([1, 0]),
    mask_input=best,
    multimask_output=False,
)
show("refined", *scores, *masks.mean((1, 2)), *logits.mean((1, 2)))
masks, scores, logits = predictor.predict(box=np.array([20, 30, 120, 100]), multimask_output=False, return_logits=True)
print(masks.dtype, masks.shape)
show("box", *scores, *masks.mean((1, 2)))
masks, scores, logits = predictor.predict(
    np.array([[60, 40]]), np.array([1]), np.array([20, 30, 120, 100]), best, False
)
show("everything at once", *scores, *masks.mean((1, 2)))

transform = ResizeLongestSide(sam.image_encoder.img_size)
print(transform.target_length, ResizeLongestSide.get_preprocess_shape(120, 180, 1024))
show("coordinates", *predictor.transform.apply_coords(np.array([[60, 40]]), image.shape[:2])[0])
boxes = torch.tensor([[10, 10, 80, 60], [40, 20, 170, 110], [0, 0, 180, 120]])
in_frame = predictor.transform.apply_boxes_torch(boxes, image.shape[:2])
show("boxes", *in_frame.flatten())
masks, scores, logits = predictor.predict_torch(
    point_coords=None, point_labels=None, boxes=in_frame, multimask_output=False
)
print(masks.shape, masks.dtype, scores.shape, logits.shape)
show("three boxes", *scores.flatten(), *masks.float().mean((1, 2, 3)))
points = predictor.transform.apply_coords_torch(torch.tensor([[[60, 40]], [[5, 100]]]), image.shape[:2])
masks, scores, logits = predictor.predict_torch(points, torch.tensor([[1], [1]]))
show("two points", *scores.flatten(), *masks.float().mean((2, 3)).flatten())

resized = torch.as_tensor(transform.apply_image(image)).permute(2, 0, 1).contiguous()
predictor.set_torch_image(resized[None], image.shape[:2])
show("again", (predictor.features - embedding).abs().max())
predictor.reset_image()
print(predictor.is_image_set, predictor.features)
answers = sam(
    [
        {
            "image": resized,
            "original_size": image.shape[:2],
            "point_coords": points,
            "point_labels": torch.tensor([[1], [0]]),
            "boxes": in_frame[:2],
        }
    ],
    multimask_output=True,
)
print([(key, tuple(value.shape), value.dtype) for key, value in sorted(answers[0].items())])
show("batched", *answers[0]["iou_predictions"].flatten(), *answers[0]["masks"].float().mean((2, 3)).flatten())

for parameter in sam.image_encoder.parameters():
    parameter.requires_grad = False
sam.mask_decoder.train()
optimiser = torch.optim.SGD(sam.mask_decoder.parameters(), lr=1e-3)
for _ in range(2):
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(points=None, boxes=in_frame[:1], masks=None)
    low, iou = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    upscaled = sam.postprocess_masks(low, (683, 1024), image.shape[:2])
    loss = upscaled.sigmoid().mean() + iou.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    show("training step", loss, sam.mask_decoder.iou_token.weight.grad.norm())
