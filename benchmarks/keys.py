"""The API key that benchmark requests carry."""

KEY = "benchmark0benchmark0benchmark0benchmark0benchmark"
