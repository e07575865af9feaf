// Package cloud registers cloud drivers for package blobs: S3, Google Cloud Storage and Azure Blob Storage. Import it
// for its side effect:
//
//	import _ "github.com/ackwire/ackwire/blobs/cloud"
//
// Each driver contains its vendor's SDK, which makes a program larger by 4 to 9 MB. A program that needs only one of
// them should import its package instead, such as blobs/cloud/s3.
package cloud

import (
	_ "github.com/ackwire/ackwire/blobs/cloud/azure" // azblob://
	_ "github.com/ackwire/ackwire/blobs/cloud/gcs"   // gs://
	_ "github.com/ackwire/ackwire/blobs/cloud/s3"    // s3://
)
