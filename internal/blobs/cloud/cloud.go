// Package cloud adds the stores of the clouds to those that blobs can open. It is imported
// by the services' commands and by nothing else: each kind brings its vendor's SDK, which
// makes a program larger by 4 to 9 MB. A program with handlers of its own imports the one
// that it needs, such as gocloud.dev/blob/s3blob.
package cloud

import (
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
)
