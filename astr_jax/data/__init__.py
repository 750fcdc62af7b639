"""Datasets in, batches out. Knows no model: all is numpy and OpenCV on the host."""
