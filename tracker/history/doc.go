// Package history reads a job's events from the log, long after they were folded, and folds them again to say what
// became of each.
//
// It reads the job's partition from where the job can have begun up to what the owner of the partition has folded, and
// keeps only the records of the job. A reading is bounded in bytes and time; it leaves a mark, from which the next one
// goes on, so that a long history costs one pass over the log and not one per page. It uses no goroutine of a shard.
package history
