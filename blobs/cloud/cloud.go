// Package cloud registers cloud drivers for package blobs: S3, Google Cloud Storage and Azure Blob Storage. Import it
// for its side effect:
//
//	import _ "github.com/ackwire/ackwire/blobs/cloud"
//
// Each driver contains its vendor's SDK, which makes a program larger by 4 to 9 MB. A program that needs only one of
// them should import that driver instead, such as gocloud.dev/blob/s3blob.
package cloud

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
)
