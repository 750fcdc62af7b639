"""astr data: look at what is trained on."""
