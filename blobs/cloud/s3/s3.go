// Package s3 lets package blobs open stores with URLs s3://, which are buckets of Amazon S3, or of another service with
// the same protocol. Import it for its side effect.
package s3

import (
	_ "gocloud.dev/blob/s3blob"

	"github.com/ackwire/ackwire/blobs/internal/gocloud"
)

func init() { gocloud.Register("s3") }
