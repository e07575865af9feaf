package frame

import (
	"encoding/json"

	"github.com/ackwire/ackwire/schemas/code"
)

// MaxWatchedLists is how many lists a session may watch at a time.
const MaxWatchedLists = 10

// ListFilter says which jobs of a tenant a watched list has, by the parameters of GET /v1/jobs but limit and cursor. In
// JSON a value is a text, a boolean, or a list of texts, which are alternatives. A parameter that is not known is an
// error.
type ListFilter map[string][]string

// ListWatchedFrame answers watchList: from now on the list's changes are told. What GET /v1/jobs answers after it is at
// least as new, and has the versions by which to compare.
type ListWatchedFrame struct {
	Type Type   `json:"type"`         // ListWatched
	ID   string `json:"id,omitempty"` // the ID of the watchList frame
	List string `json:"list"`         // the client's name for it
}

// ListUnwatchedFrame answers unwatchList. Without ID it tells a client that has renewed its token that the new one does
// not cover the list.
type ListUnwatchedFrame struct {
	Type Type   `json:"type"`         // ListUnwatched
	ID   string `json:"id,omitempty"` // the ID of the unwatchList frame
	List string `json:"list"`         // the client's name for it
	// Error, without ID, says why the watch has ended.
	Error code.Code `json:"error,omitempty"`
}

// ListChangedFrame tells what has changed in a list, of each job the newest change only.
type ListChangedFrame struct {
	Type Type   `json:"type"` // ListChanged
	List string `json:"list"` // the client's name for it
	// Rows are jobs that are in the list.
	Rows []ListRow `json:"rows,omitempty"`
	// Left are jobs that do not match any more, or were removed: rows with this version or a lower one are of the past.
	Left []LeftRow `json:"left,omitempty"`
	// Again says that changes were not told: the client must ask for the list again. The changes in this frame are newer.
	Again bool `json:"again,omitempty"`
	// Missed, with Again, is how many changes were not told at most; absent if that is not known.
	Missed int64 `json:"missed,omitempty"`
}

// ListRow is a job in a list. A document above 16 KiB is absent: then the row has the job's ID.
type ListRow struct {
	JobID   string          `json:"jobId,omitempty"` // the job, if Job is absent
	Version int64           `json:"version"`         // of the document
	Job     json.RawMessage `json:"job,omitempty"`   // a job.Document
}

// LeftRow is a job that has left a list.
type LeftRow struct {
	JobID   string `json:"jobId"`   // the job
	Version int64  `json:"version"` // in which it has left, or which it had at most
}
