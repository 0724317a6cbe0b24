"""Published files as plain Keras graphs: DINOv2, DINOv3, CLIP, SigLIP, ViT, Swin, ConvNeXt, and timm's convolutions."""
