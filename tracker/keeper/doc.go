// Package keeper keeps what running jobs write to their streams, one keeper for each partition of the topic streams.
//
// A keeper reads its partition, asks the shard beside it which run of a job counts, and remembers where in the topic
// the pieces of that run lie: the pieces follow each other without a gap, so it is enough to know where the stream
// ends and, every now and then, at which offset a position is (marks). What was written last is in memory (Tails),
// older pieces are read from the topic, and the streams of ended jobs, if they are small, are kept whole in the store.
//
// One goroutine, Run, reads and takes records. Readers come from other goroutines; they share with it what mu guards.
// The shard knows nothing of a keeper but Told, which only notes a name.
package keeper
