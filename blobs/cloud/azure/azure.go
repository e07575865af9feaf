// Package azure lets package blobs open stores with URLs azblob://, which are
// containers of Azure Blob Storage.
// Import it for its side effect.
package azure

import (
	_ "gocloud.dev/blob/azureblob"

	"github.com/ackwire/ackwire/blobs/internal/gocloud"
)

func init() { gocloud.Register("azblob") }
