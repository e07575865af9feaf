// Package webhook holds the payload of the jobs that deliver webhooks, and the body that an endpoint receives: a
// message of Standard Webhooks (https://www.standardwebhooks.com).
package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// MaxURLChars bounds a callback's URL, in bytes.
const MaxURLChars = 2048

// Request is the payload of a job that delivers one webhook.
type Request struct {
	URL string `json:"url"` // the endpoint
	// Body is the encoded Message. It is sent byte for byte, since the signature is over these bytes.
	Body json.RawMessage `json:"body"`
}

// Message is the body that an endpoint receives.
type Message struct {
	// Type is the EventType of the state that the job has entered.
	Type string `json:"type"`
	// Timestamp is when the document was last changed.
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data is the job at the time when the message was made. Its state may be a later one than the message's.
type Data struct {
	Version int64           `json:"version"` // the version of the document
	Job     json.RawMessage `json:"job"`     // a job.Document
}

// EventType returns the message type for a job that enters a state, such as "job.completed".
func EventType(s job.State) string { return "job." + string(s) }

// CheckURL returns an error if raw cannot be a callback's URL. Whether its address may be called is checked only when
// it is called.
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
