// Package queue knows how many jobs wait in each lane and how fast they start, from what the trackers report on the
// gateway's watch streams. So an ack can say what is ahead of its job without a question to anybody.
package queue
