"""How good a model is: benchmark protocols, folders of labelled photographs, reports."""
