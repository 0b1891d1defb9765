"""Whether a model answers well: a benchmark answered by models, heard, judged and summed up."""
