// Package fetch reads single Kafka records by their position. The tracker reads a job's payload so for
// each attempt after the first: the payload is kept only in the record of the job's request.
package fetch
