"""Open-vocabulary part segmentation: where is the part these words name?"""
