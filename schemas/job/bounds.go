package job

import (
	"time"
	"unicode/utf8"
)

// Bounds of a job's texts, in characters. The JSON Schemas have the same.
const (
	MaxNameChars = 256  // of an ID, a type, a tenant, a subject, a hash, a run, a worker, a topic, a media type
	MaxURLChars  = 2048 // of a callback's URL and of a result's
)

// MinTime and MaxTime are the bounds of times from outside. Times that are computed from them, such as an expiry a
// hundred years later, must still fit into a document, whose years have four digits.
var (
	MinTime = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC) // 1970 in any zone
	MaxTime = time.Date(9000, 1, 2, 0, 0, 0, 0, time.UTC)   // 8999 in any zone
)

// ValidTime reports whether t lies between MinTime and MaxTime.
func ValidTime(t time.Time) bool { return !t.Before(MinTime) && t.Before(MaxTime) }

// Bounded reports whether s has at most n characters.
func Bounded(s string, n int) bool { return len(s) <= n || utf8.RuneCountInString(s) <= n }
