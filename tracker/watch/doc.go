// Package watch is the tracker's side of one gateway's watch stream: the updates that wait to be sent,
// only the latest of each job. Shards put updates in and never wait; one sender takes them out. A gateway
// that reads slowly costs little memory: beyond maxHeld bytes the stream keeps only the job IDs, and loads
// each document again when it is to be sent.
package watch
