package topic

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Header is one header of a Kafka record.
type Header struct {
	Key   string // one of the constants Header…, or another program's
	Value []byte // text, as a rule
}

// Request holds the headers of a request record in Go types. The record's key is the job ID and
// its value the payload, unchanged.
type Request struct {
	JobID       string     // the record's key
	Life        string     // the life of the job's ID; empty for a job without an idempotency key
	Job         string     // job type
	Lane        string     // the lane that the job runs on, also in the topic deferred
	Dispatch    int        // how often the job was handed out, from 1
	Attempt     int        // the attempt that it is handed out for, from 1
	Tenant      string     // the tenant that owns the job
	Subject     string     // the token's subject; empty when the token has none
	PayloadHash string     // "sha256:" and the hash in hexadecimal
	Policy      job.Policy // of the job type, with the submit's timeout and deadline
	Time        time.Time  // when it was submitted, by the gateway's clock
	RunAt       *time.Time // when the job may begin; nil outside the topic deferred
	CallbackURL string     // the endpoint of webhooks; empty when there are none
	// CallbackEvents are the states for which CallbackURL is called when the job enters them.
	CallbackEvents []job.State
	Tags           job.Tags // what the submitter has attached to the job
	Traceparent    string
	Tracestate     string
	// PayloadBlob is the key, in the blob store, of a payload that is too large for the log; empty when the
	// payload is the record's value.
	PayloadBlob string
}

var policies = codec.New[job.Policy]()

// Headers returns the record headers of r.
func (r *Request) Headers() ([]Header, error) {
	policy, err := policies.Encode(&r.Policy)
	if err != nil {
		return nil, err
	}
	h := make([]Header, 0, 20)
	tags := ""
	if len(r.Tags) > 0 {
		b, err := plainjson.Marshal(r.Tags)
		if err != nil {
			return nil, err
		}
		tags = string(b)
	}
	add := func(key, value string) { h = append(h, Header{key, []byte(value)}) }
	optional := func(key, value string) {
		if value != "" {
			add(key, value)
		}
	}
	add(HeaderSpecVersion, "1.0")
	add(HeaderID, r.JobID)
	add(HeaderSource, CloudEventsSource)
	add(HeaderType, r.Job)
	add(HeaderTime, r.Time.UTC().Format(time.RFC3339Nano))
	add(HeaderContentType, "application/json")
	add(HeaderVersion, RequestVersion)
	add(HeaderLane, r.Lane)
	add(HeaderDispatch, strconv.Itoa(r.Dispatch))
	add(HeaderAttempt, strconv.Itoa(r.Attempt))
	add(HeaderTenant, r.Tenant)
	optional(HeaderLife, r.Life)
	optional(HeaderSubject, r.Subject)
	add(HeaderPolicy, string(policy))
	add(HeaderPayloadHash, r.PayloadHash)
	optional(HeaderCallbackURL, r.CallbackURL)
	optional(HeaderCallbackEvents, joinStates(r.CallbackEvents))
	optional(HeaderTags, tags)
	optional(HeaderTraceparent, r.Traceparent)
	optional(HeaderTracestate, r.Tracestate)
	optional(HeaderPayloadBlob, r.PayloadBlob)
	if r.RunAt != nil {
		add(HeaderRunAt, r.RunAt.UTC().Format(time.RFC3339Nano))
	}
	return h, nil
}

// ParseRequest reads the headers of a request record with the given key. Unknown headers are ignored; if a header is
// repeated, the last one counts. The error joins all problems, so that a dead letter says everything that is wrong.
func ParseRequest(key string, headers []Header) (Request, error) {
	values := make(map[string]string, len(headers))
	for _, h := range headers {
		values[h.Key] = string(h.Value)
	}
	var problems []error
	for name := range values {
		// A claim repeats these headers in JSON, which would replace invalid UTF-8.
		if ours(name) && !utf8.ValidString(values[name]) {
			problems = append(problems, fmt.Errorf("header %s is not UTF-8", name))
		}
	}
	text := func(name string) string {
		v := values[name]
		if v == "" {
			problems = append(problems, fmt.Errorf("header %s is missing", name))
		}
		return v
	}
	number := func(name string) int {
		v := text(name)
		n, err := strconv.ParseInt(v, 10, 32)
		if v != "" && (err != nil || n < 1) {
			problems = append(problems, fmt.Errorf("header %s is not a positive number", name))
		}
		return int(n)
	}
	instant := func(name string) (t time.Time) {
		if v := values[name]; v != "" {
			var err error
			if t, err = job.ParseTime(v); err != nil {
				problems = append(problems, fmt.Errorf("header %s is not an RFC 3339 time", name))
			}
		}
		return t
	}
	if v := text(HeaderVersion); v != "" && v != RequestVersion {
		return Request{}, fmt.Errorf("unknown request version %.64q", v)
	}
	r := Request{
		JobID:       text(HeaderID),
		Life:        values[HeaderLife],
		Job:         text(HeaderType),
		Lane:        values[HeaderLane],
		Dispatch:    number(HeaderDispatch),
		Attempt:     number(HeaderAttempt),
		Tenant:      text(HeaderTenant),
		Subject:     values[HeaderSubject],
		PayloadHash: text(HeaderPayloadHash),
		Time:        instant(HeaderTime),
		CallbackURL: values[HeaderCallbackURL],
		Traceparent: values[HeaderTraceparent],
		Tracestate:  values[HeaderTracestate],
		PayloadBlob: values[HeaderPayloadBlob],
	}
	if r.Life != "" && !ValidLife(r.Life) {
		problems = append(problems, fmt.Errorf("header %s is not a life", HeaderLife))
	}
	if r.PayloadBlob != "" && (!strings.HasPrefix(r.PayloadBlob, "payloads/"+r.JobID+"/") ||
		strings.Contains(r.PayloadBlob, "..")) {
		problems = append(problems, fmt.Errorf("header %s is not a key of this job's", HeaderPayloadBlob))
	}
	if v := values[HeaderCallbackEvents]; v != "" {
		for s := range strings.SplitSeq(v, ",") {
			r.CallbackEvents = append(r.CallbackEvents, job.State(s))
		}
		if len(r.CallbackEvents) > len(job.States) || slices.ContainsFunc(r.CallbackEvents, func(s job.State) bool {
			return !s.Valid()
		}) {
			problems = append(problems, fmt.Errorf("header %s is not a list of states", HeaderCallbackEvents))
		}
	}
	if v := values[HeaderTags]; v != "" {
		err := strict.Check([]byte(v)) // no key twice
		if err == nil {
			err = strict.Unmarshal([]byte(v), &r.Tags)
		}
		if err == nil {
			err = r.Tags.Validate()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("header %s: %w", HeaderTags, err))
		}
	}
	if key != r.JobID {
		problems = append(problems, errors.New("record key is not the job ID in header "+HeaderID))
	}
	if r.Lane != "" && !ValidLane(r.Lane) {
		problems = append(problems, fmt.Errorf("header %s is not a lane name", HeaderLane))
	}
	if policy := text(HeaderPolicy); policy != "" {
		_, err := policies.Decode([]byte(policy), &r.Policy)
		if err == nil {
			err = r.Policy.Validate()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("header %s: %w", HeaderPolicy, err))
		}
	}
	if at := instant(HeaderRunAt); !at.IsZero() {
		r.RunAt = &at
		if !job.ValidTime(at) {
			problems = append(problems, fmt.Errorf("header %s is not between 1970 and 9000", HeaderRunAt))
		}
	}
	for name, chars := range map[string]int{
		HeaderID: job.MaxNameChars, HeaderType: job.MaxNameChars, HeaderTenant: job.MaxNameChars,
		HeaderSubject:     job.MaxNameChars,
		HeaderPayloadHash: job.MaxNameChars, HeaderCallbackURL: job.MaxURLChars,
	} {
		if !job.Bounded(values[name], chars) {
			problems = append(problems, fmt.Errorf("header %s has more than %d characters", name, chars))
		}
	}
	return r, errors.Join(problems...)
}

// ours reports whether the header is one of a request that must be valid. The two of a trace need not be: a malformed
// trace is ignored.
func ours(name string) bool {
	return strings.HasPrefix(name, "ackwire-") || strings.HasPrefix(name, "ce_")
}

func joinStates(states []job.State) string {
	texts := make([]string, len(states))
	for i, s := range states {
		texts[i] = string(s)
	}
	return strings.Join(texts, ",")
}
