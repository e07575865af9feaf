package cloud_test

import (
	"testing"

	"github.com/ackwire/ackwire/blobs"
	_ "github.com/ackwire/ackwire/blobs/cloud"
)

func TestTheCloudsAreKindsOfStores(t *testing.T) {
	for _, url := range []string{"s3://bucket?region=eu-central-1", "gs://bucket", "azblob://container"} {
		if err := blobs.CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
