package service

// BlobStore is the setting of every service for its blob store. What it names is opened by package
// blobs, which is in a module of its own.
type BlobStore struct {
	URL string `name:"blobs" help:"Store for large results, files and payloads: file:///dir, s3://bucket?region=…, gs://bucket or azblob://container. All services that share a Kafka share it." placeholder:"URL"`
}
