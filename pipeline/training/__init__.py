"""Training as a chain of stages: recipe, data of a version, launch, lineage."""
