"""One loop; pretraining, embeddings, probes, scores."""
