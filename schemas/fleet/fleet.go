// Package fleet defines what workers say of themselves: which lanes they take, with how many slots, and which
// endpoints of webhooks they have paused.
//
// An announcement is a record of the topic streams, which workers write and trackers read anyway. Its key is the
// worker's name, and the header Header tells it from the pieces of streams. It is no event: it changes no job and
// counts only for a while, so it has no place in the topic status, which is read again for as long as jobs live. A
// tracker of an earlier release drops it and counts it as undecodable.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Version is the value of "v" in every announcement, and of the header Header.
const Version = 1

// Header is the header of an announcement's record, which no other record of the topic streams has.
const Header = "ackwire-worker"

// Times of announcements.
const (
	// Every is how often a worker announces itself, give or take a fifth.
	Every = 30 * time.Second
	// GoneAfter is how long after its last announcement a worker is forgotten.
	GoneAfter = 2 * time.Minute
)

// Bounds of an announcement.
const (
	MaxBytes         = 48 << 10 // of the record's value
	MaxLanes         = 64
	MaxPaused        = 100
	MaxEndpointBytes = 256
	maxVersionBytes  = 64
	maxTenantBytes   = 4 * job.MaxNameChars
	maxSlots         = 1 << 20
)

// Announcement is the value of one record.
type Announcement struct {
	V      int    `json:"v"`      // Version
	Worker string `json:"worker"` // its name, as in the events of its runs; the record's key
	// Lanes are those that the worker takes, or has left to others.
	Lanes   []Lane `json:"lanes"`
	Running int    `json:"running"`           // jobs that it holds
	Version string `json:"version,omitempty"` // of the library or program
	// StartedAt is when it began to take jobs, by its own clock.
	StartedAt time.Time `json:"startedAt"`
	Draining  bool      `json:"draining,omitempty"` // it takes no more jobs and ends those that it has
	Gone      bool      `json:"gone,omitempty"`     // it has ended; nothing else counts
	// Paused are the endpoints of webhooks that it does not call for a while, those with the most failures first.
	// PausedMore is true if there are others.
	Paused     []Paused `json:"paused,omitempty"`
	PausedMore bool     `json:"pausedMore,omitempty"`
}

// Lane is a lane that a worker takes.
type Lane struct {
	Lane  string `json:"lane"`  // its name
	Slots int    `json:"slots"` // jobs that it holds at the same time, at most
	// Yielded is true while the worker leaves the lane to others.
	Yielded bool `json:"yielded,omitempty"`
}

// Paused is an endpoint of webhooks that a worker does not call for a while.
type Paused struct {
	Tenant string `json:"tenant"` // whose webhooks are held back
	// Endpoint is scheme, host and path of the URL, or scheme and host if the host accepts no connections: never a query
	// or credentials. A long one is cut.
	Endpoint string    `json:"endpoint"`
	Until    time.Time `json:"until"`    // then it is tried again
	Failures int       `json:"failures"` // in a row
}

// Headers returns the headers of an announcement's record.
func Headers() []topic.Header { return []topic.Header{{Key: Header, Value: []byte("1")}} }

// Endpoint returns what an announcement tells of a URL's origin and path.
func Endpoint(origin, path string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return ""
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	return text.Clip(strings.ToValidUTF8(u.Scheme+"://"+u.Host+path, "\uFFFD"), MaxEndpointBytes)
}

// Encode sets the version of a, checks it, and returns its JSON encoding. Of paused endpoints that are too many, or too
// long together, the last ones are left out.
func Encode(a *Announcement) ([]byte, error) {
	a.V = Version
	if a.Lanes == nil {
		a.Lanes = []Lane{}
	}
	for {
		if len(a.Paused) > MaxPaused {
			a.Paused, a.PausedMore = a.Paused[:MaxPaused], true
		}
		value, err := plainjson.Marshal(a)
		if err != nil {
			return nil, err
		}
		if len(value) > MaxBytes && len(a.Paused) > 0 {
			a.Paused, a.PausedMore = a.Paused[:len(a.Paused)/2], true
			continue
		}
		return value, a.validate(len(value))
	}
}

// Decode reads one announcement and checks it. Unknown fields are ignored.
func Decode(value []byte) (a Announcement, err error) {
	if len(value) > MaxBytes {
		return Announcement{}, errBytes
	}
	if err := strict.Check(value); err != nil {
		return Announcement{}, fmt.Errorf("announcement %w", err)
	}
	if err := json.Unmarshal(value, &a); err != nil {
		return Announcement{}, fmt.Errorf("decode announcement: %w", err)
	}
	return a, a.validate(len(value))
}

var errBytes = fmt.Errorf("announcement of more than %d bytes", MaxBytes)

func (a *Announcement) validate(size int) error {
	switch {
	case a.V != Version:
		return fmt.Errorf("unknown version %d of an announcement", a.V)
	case size > MaxBytes:
		return errBytes
	case !ValidName(a.Worker):
		return errors.New("announcement without the name of a worker")
	case len(a.Lanes) > MaxLanes, len(a.Paused) > MaxPaused:
		return errors.New("announcement with too many lanes or paused endpoints")
	case a.Running < 0 || a.Running > maxSlots*MaxLanes || len(a.Version) > maxVersionBytes || !job.ValidTime(a.StartedAt):
		return errors.New("announcement with a number, version or time out of bounds")
	}
	seen := map[string]bool{}
	for _, l := range a.Lanes {
		if !topic.ValidLane(l.Lane) || l.Slots < 0 || l.Slots > maxSlots || seen[l.Lane] {
			return errors.New("announcement with a lane that is none, or twice")
		}
		seen[l.Lane] = true
	}
	for _, p := range a.Paused {
		if !validEndpoint(p.Endpoint) || p.Failures < 0 || !job.ValidTime(p.Until) || len(p.Tenant) > maxTenantBytes {
			return errors.New("announcement with a paused endpoint that is none")
		}
	}
	return nil
}

func validEndpoint(s string) bool {
	rest, ok := strings.CutPrefix(strings.Replace(s, "https://", "http://", 1), "http://")
	return ok && rest != "" && len(s) <= MaxEndpointBytes && !strings.ContainsAny(rest, "?#")
}

// ValidName reports whether s can be a worker's name, as events may have it.
func ValidName(s string) bool {
	return s != "" && utf8.ValidString(s) && job.Bounded(s, job.MaxNameChars)
}
