// Package shard owns the jobs of one partition of status. One goroutine, Run's, owns all
// that a shard has: it folds records, answers questions, wakes watchers, keeps timers and
// hands changes to checkpoints. No lock is shared between shards and nothing it does waits
// for Kafka, the disk's flushes or a slow gateway.
package shard
