"""Pictures and labels: samples, the only decoder, views, splits, audit. Never imports Keras or TensorFlow."""
