// Package hub distributes the statuses of jobs to the sessions that watch them. However many sessions watch a job, it
// is watched only once at its tracker, and each of its statuses is encoded into a frame only once.
package hub
