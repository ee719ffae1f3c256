"""The place of uploaded media: a folder, or an S3-compatible bucket."""
