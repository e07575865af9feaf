// Package view writes and reads the topic view: a compacted topic with the latest document of every job.
// Only the tracker that owns a partition writes it, in transactions. A tracker without local state restores
// from it, and other programs may read it as a table.
//
// A record's key is the job ID, its value the document; a tombstone stands for a removed job. Each
// transaction has a checkpoint record, which says up to which offset of status the table is complete, and
// how many jobs it must have and the sum of their hashes.
package view
