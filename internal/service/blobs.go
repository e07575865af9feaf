package service

// BlobStore is every service's setting for its blob store. Package blobs, which is in a module of its own, opens
// the store.
type BlobStore struct {
	URL string `name:"blobs" help:"Store for large results, files and payloads: file:///dir, s3://bucket?region=…, gs://bucket or azblob://container. All services that share a Kafka share it." placeholder:"URL"`
}
