"""Training as a chain of stages: the recipe, the data of a version, launching the processes, lineage."""
