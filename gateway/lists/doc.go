// Package lists follows lists of jobs, by their filters, for the sessions that watch them (watchList, on the wire). A
// list that several sessions watch is watched only once at each tracker, and each of its rows is encoded only once.
//
// Of a list the newest change of each job is kept, up to a bound. A subscription is no more than a position among them,
// so a client that reads nothing costs no memory: when what it has not read is dropped, it is told to ask for the list
// again. It is told the same when a partition has moved to another tracker, whose changes in between may be missing.
// What it is told is paced: so many rows at a time, so many times a second.
package lists
