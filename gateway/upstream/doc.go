// Package upstream is the gateway's client of the trackers. It finds the tracker that owns a partition by asking Kafka
// for the trackers' consumer group, sends requests for single jobs, lists and counts, and keeps one watch stream per
// tracker for all jobs that are watched on this gateway.
package upstream
