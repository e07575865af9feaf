package frame

import "time"

// ActivityMinutes is how many minutes an Activity has: the one in which it was made, and those before it.
const ActivityMinutes = 60

// Activity is the body of GET /v1/activity: what happened to the tenant's jobs in each of the last minutes.
type Activity struct {
	From time.Time `json:"from"` // when the first minute begins
	// Since is when the counts begin to be whole: trackers keep them in memory, and one that has taken jobs over from
	// another knows only a part of what happened before.
	Since time.Time      `json:"since"`
	Lanes []LaneActivity `json:"lanes"` // those in which something happened, sorted by name
	// Truncated is true if something was not counted, because too many tenants had jobs in the same hour.
	Truncated bool      `json:"truncated"`
	AsOf      time.Time `json:"asOf"` // all changes up to this time are included
}

// LaneActivity counts what happened to jobs in a lane: one number for each minute, the oldest first. The last minute
// is not over.
type LaneActivity struct {
	Lane      string  `json:"lane"`      // the lane's name
	Accepted  []int64 `json:"accepted"`  // jobs that were made
	Completed []int64 `json:"completed"` // jobs that completed
	Failed    []int64 `json:"failed"`    // jobs that failed for good
	Cancelled []int64 `json:"cancelled"` // jobs that were cancelled
}
