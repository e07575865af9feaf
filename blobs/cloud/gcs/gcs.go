// Package gcs lets package blobs open stores with URLs gs://, which are
// buckets of Google Cloud Storage.
// Import it for its side effect.
package gcs

import (
	_ "gocloud.dev/blob/gcsblob"

	"github.com/ackwire/ackwire/blobs/internal/gocloud"
)

func init() { gocloud.Register("gs") }
