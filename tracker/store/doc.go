// Package store keeps the state of a tracker's partitions in Pebble: a row for each job, indexes by which
// lists and timers find jobs, counters, and the position in status up to which all this is folded. Rows and
// position are always written in one batch, together with a count and a hash of all rows. A store is used
// only if these match its content.
//
// Keys start with the partition (4 bytes, big endian) and a kind: see keys.go.
package store
