"""Foundation networks (DINOv2, DINOv3, CLIP, SigLIP, ViT, Swin, ConvNeXt): published files as plain Keras graphs."""
