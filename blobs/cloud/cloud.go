// Package cloud adds the stores of the clouds to those that package blobs can open: S3, Google
// Cloud Storage and Azure Blob Storage. Import it for its effect:
//
//	import _ "github.com/ackwire/ackwire/blobs/cloud"
//
// Each kind brings its vendor's SDK, which makes a program larger by 4 to 9 MB. A program that
// needs one of them imports its driver instead, such as gocloud.dev/blob/s3blob.
package cloud

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
)
