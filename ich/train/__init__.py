"""One network on one split: batches, loss, loop, checkpoint, predictions; the only room with Keras besides rsna."""
