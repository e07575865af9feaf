// Package webhook holds what the tracker hands to the worker that delivers webhooks, and what an
// endpoint is sent: a message of Standard Webhooks (https://www.standardwebhooks.com).
package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// MaxURLChars bounds a callback's URL.
const MaxURLChars = 2048

// Request is the payload of a webhook's own job.
type Request struct {
	URL string `json:"url"` // where it goes
	// Body is the Message, as it is sent: the signature is over these bytes.
	Body json.RawMessage `json:"body"`
}

// Message is the body that an endpoint is sent.
type Message struct {
	// Type is EventType of the state that began.
	Type string `json:"type"`
	// Timestamp is when the document was last changed.
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data is the job when the message was made: it may have gone on since the state began.
type Data struct {
	Version int64           `json:"version"` // the document's
	Job     json.RawMessage `json:"job"`     // of type job.Document
}

// EventType names the beginning of a state: "job.completed".
func EventType(s job.State) string { return "job." + string(s) }

// CheckURL says what is wrong with a callback's URL. Where it may lead is decided when it
// is called.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > MaxURLChars:
		return fmt.Errorf("longer than %d characters", MaxURLChars)
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("not an http or https URL")
	case u.User != nil:
		return errors.New("a user or password in the URL is not sent")
	case u.Fragment != "":
		return errors.New("a fragment has no meaning")
	}
	return nil
}
