// Package subjects distributes the statuses of all jobs of a subject to the sessions that watch them (mine, on the
// wire). However many sessions watch a subject, it is watched only once at each tracker, and each status is encoded
// into a frame only once.
//
// A tracker says for which partitions it covers a subject. When another tracker takes a partition over, changes in
// between may not have been sent. So, once all partitions are covered again, the gateway lists the jobs that have
// changed meanwhile, and delivers the statuses that were not delivered before. This is called closing a gap.
package subjects
