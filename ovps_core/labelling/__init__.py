"""Labelling of a data set by people, with Label Studio: masks go out as suggestions and come back as labels."""
