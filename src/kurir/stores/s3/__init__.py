"""Files of messages in an S3 bucket, or at a server that speaks S3: `ports.FileStore`. Needs the extra `kurir[s3]`."""

from .blobs import S3Blobs

__all__ = ["S3Blobs"]
