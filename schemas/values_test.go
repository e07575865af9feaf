package schemas_test

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// The examples follow one job of tenant acme through everything that can happen to it.
const (
	jobID       = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02"
	otherID     = "019c1db0-0b11-7c02-8a41-5d2f6e8b0c13"
	runID       = "GJ5KQ2WXM7TBVRZ4NCDYHPLS3E"
	workerID    = "reports-1"
	payloadHash = "sha256:c07a858442db7da60846a7ea0977eaaf585066c8d2e8f1d69a6e75e9ff22affb"
	payloadJSON = `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`
	resultJSON  = `{"rows":31}`
)

var (
	names      = topic.Names{Prefix: topic.DefaultPrefix}
	acceptedAt = time.Date(2026, 2, 2, 9, 30, 0, 448e6, time.UTC)
	claimedAt  = acceptedAt.Add(12 * time.Millisecond)
	endedAt    = acceptedAt.Add(1902 * time.Millisecond)

	policy = job.Policy{
		Attempts: 3,
		Backoff:  job.Backoff{Initial: seconds(0.2), Factor: 2, Cap: seconds(60)},
		Lease:    seconds(30), Timeout: seconds(600), Grace: seconds(10), Retention: seconds(86400),
	}
	source  = event.Position{Topic: names.Requests("reports"), Partition: 4, Offset: 17}
	renewal = int64(4711)
	after   = seconds(2.5)
	version = int64(4713)

	request = &topic.Request{
		JobID: jobID, Job: "report.generate", Lane: "reports", Dispatch: 1, Attempt: 1,
		Tenant: "acme", Subject: "alice", PayloadHash: payloadHash, Policy: policy, Time: acceptedAt,
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	statusHeaders = map[string]string{topic.HeaderTraceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-83ab6d0b6c3c4c0f-01"}
	deadHeaders   = map[string]string{
		topic.HeaderDeadReason: "bad_request", topic.HeaderDeadDetail: "header ackwire-tenant is missing",
		topic.HeaderDeadTopic: source.Topic, topic.HeaderDeadPartition: "4", topic.HeaderDeadOffset: "18",
		topic.HeaderDeadBy: "processor",
	}
)

var (
	tags           = job.Tags{"customer": "c-17", "note": "até já", "region": "eu-1"}
	submitWithTags = frame.SubmitRequest{
		Job: "report.generate", Payload: json.RawMessage(payloadJSON), Key: "2026-01", Tags: tags,
	}
)

func taggedDocument() job.Document {
	d := documents["pending"]
	d.Lane, d.Subject, d.Tags = "reports", "alice", tags
	return d
}

func taggedRequest() *topic.Request {
	r := *request
	r.Tags = tags
	return &r
}

func seconds(f float64) job.Seconds { return must(job.SecondsOf(f)) }

var collecting = &job.Progress{
	Percent: 48, Message: "collected 19 of 31 days", Current: 19, Total: 31,
	Stage: "collect", Data: json.RawMessage(`{"day":"2026-01-19","rows":1804}`),
}

var events = []event.Event{
	{Type: event.Accepted, JobID: jobID, Job: "report.generate", Tenant: "acme", Subject: "alice", Lane: "reports",
		PayloadHash: payloadHash, Policy: &policy, Request: &source},
	{Type: event.Claimed, JobID: jobID, Job: "report.generate", Tenant: "acme", Subject: "alice", Lane: "reports",
		PayloadHash: payloadHash, Policy: &policy, Request: &source, Dispatch: 1, Run: runID, Worker: workerID,
		NoGrant: true},
	{Type: event.Beat, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID},
	{Type: event.Progress, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID,
		Progress: collecting},
	{Type: event.Completed, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID, Result: json.RawMessage(resultJSON),
		Streams: streamTotals,
		ResultBlob: &event.Blob{
			Key: "results/" + jobID + "/" + runID, Size: 812, ContentType: "text/csv", Name: "sales.csv",
		}},
	{Type: event.Failed, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID,
		Error: &event.Failure{
			Error:      job.Error{Code: "source_busy", Message: "the sales database is in maintenance", Retryable: true},
			RetryAfter: &after,
		}},
	{Type: event.Released, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID,
		Error: &event.Failure{
			Error: job.Error{
				Code: "no_handler", Message: "this worker has no handler for job type report.generate", Retryable: true,
			},
		}},
	{Type: event.LeaseExpired, JobID: jobID, Dispatch: 1, Run: runID, Renewal: &renewal},
	{Type: event.AttemptTimedOut, JobID: jobID, Dispatch: 1, Run: runID},
	{
		Type: event.Requeued, JobID: jobID, Dispatch: 2,
		Request: &event.Position{Topic: source.Topic, Partition: 4, Offset: 23},
	},
	{Type: event.CancelRequested, JobID: jobID},
	{Type: event.CancelForced, JobID: jobID, Dispatch: 2},
	{Type: event.RetryRequested, JobID: jobID},
	{Type: event.DeadlineExceeded, JobID: jobID, Round: 1},
	{Type: event.Expired, JobID: jobID, Round: 1},
	{
		Type: event.CallbackQueued, JobID: jobID,
		Delivery: &event.Delivery{JobID: deliveryID, State: job.Completed, Version: version},
	},
	{Type: event.PayloadLost, JobID: jobID, Life: "JTP4ZK7XQ2WM5VRD3YCHBNGS6E", Dispatch: 1, Request: &source},
	{Type: event.Erased, JobID: jobID, Life: "JTP4ZK7XQ2WM5VRD3YCHBNGS6E", Round: 1},
	{Type: event.RequestLost, JobID: jobID, Life: "JTP4ZK7XQ2WM5VRD3YCHBNGS6E", Request: &source},
}

// Pieces of two streams, and how long the streams are.
var (
	textPiece = stream.Chunk{JobID: jobID, Stream: "tokens", Kind: job.StreamText, Dispatch: 1, Run: runID, From: 18212,
		Value: []byte("Sales rose by a third.")}
	valuesPiece = stream.Chunk{JobID: jobID, Stream: "log", Kind: job.StreamJSON, Dispatch: 1, Run: runID, From: 2,
		Value: []byte(`[{"time":"2026-02-02T09:30:02.1Z","level":"INFO","message":"all rows read","rows":31}]`)}
	streamTotals = job.Streams{
		"tokens": {Kind: job.StreamText, Total: 18234},
		"log":    {Kind: job.StreamJSON, Total: 3},
	}
)

var orders = []event.Order{
	{Type: event.Granted, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID},
	{Type: event.Stop, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID, Reason: "old_dispatch"},
	{Type: event.Quit, JobID: jobID, Dispatch: 1, Run: runID, Worker: workerID, Reason: "cancelRequested"},
}

var submitRequest = frame.SubmitRequest{
	Job: "report.generate", Payload: json.RawMessage(payloadJSON), Key: "sales-2026-01",
}

var submitWithStreams = func() frame.SubmitRequest {
	r := submitRequest
	r.Streams = json.RawMessage(`["tokens"]`)
	return r
}()

var watchRequest = frame.WatchRequest{
	Jobs: json.RawMessage(`[{"jobId":"` + jobID + `","after":4713},{"jobId":"` + otherID + `"}]`),
	Mine: true, After: "1mkh3y2k8", Known: json.RawMessage(`[{"jobId":"` + jobID + `","after":4713}]`),
}

var clientFrames = []frame.ClientFrame{
	{Type: frame.Auth, ID: "0", Token: "eyJhbGciOiJIUzI1NiJ9.eyJ0ZW5hbnQiOiJhY21lIn0.c2lnbmF0dXJl"},
	{Type: frame.Submit, ID: "1", SubmitRequest: submitRequest},
	{Type: frame.SubmitBatch, ID: "8", Jobs: must(json.Marshal(batchRequest.Jobs))},
	{
		Type: frame.Subscribe, ID: "2",
		Jobs: must(json.Marshal([]frame.JobRef{{JobID: jobID, After: &version}, {JobID: otherID}})),
	},
	{Type: frame.Unsubscribe, ID: "3", Jobs: must(json.Marshal([]string{jobID}))},
	{Type: frame.Cancel, ID: "4", JobID: jobID},
	{Type: frame.Retry, ID: "5", JobID: jobID},
	{
		Type: frame.WatchList, ID: "10", List: "failed reports",
		Filter: must(json.Marshal(frame.ListFilter{"state": {"failed"}, "type": {"report.generate"}})),
	},
	{Type: frame.UnwatchList, ID: "11", List: "failed reports"},
	{Type: frame.Ping, ID: "7"},
}

// batchRequest is a batch, and batchResults what became of its submits.
var batchRequest = frame.BatchRequest{Jobs: []frame.SubmitRequest{
	submitRequest,
	{Job: "report.generate", Payload: json.RawMessage(`{"to":"January"}`)},
	{Job: "report.generate", Payload: submitRequest.Payload, Key: "sales-2026-02"},
}}

func batchResults() []frame.BatchResult {
	made, refused, unknown := ack("", ""), problem(code.ValidationFailed), problem(code.Indeterminate)
	return []frame.BatchResult{
		{Outcome: frame.Acked, Ack: &made}, {Outcome: frame.Refused, Error: &refused},
		{Outcome: frame.Unknown, Error: &unknown},
	}
}

var welcome = frame.WelcomeFrame{
	Type: frame.Welcome, ID: "0", Connection: "c3f0a9d2-5f0e-4b7c-9a61-2d8e4f6b1a70", Protocol: frame.Protocol,
	PingInterval: 25,
	Limits: frame.Limits{
		FrameBytes: frame.MaxFrameBytes, Subscriptions: frame.MaxSubscriptions,
		InFlightSubmits: frame.MaxInFlightSubmits,
	},
}

func ack(t frame.Type, id string) frame.AckFrame {
	return frame.AckFrame{Type: t, ID: id, JobID: jobID, State: string(job.Pending), StatusURL: "/v1/jobs/" + jobID}
}

var subscribed = frame.SubscribedFrame{Type: frame.Subscribed, ID: "2", Jobs: []frame.SubscribedJob{
	{JobID: jobID, Version: version}, {JobID: otherID, Error: code.NotFound},
}}

const deliveryID = "6d1f0a52-93c4-8b1e-9a57-c4f2f1f6f0b3"

var deliveries = frame.Deliveries{JobID: jobID, Deliveries: []frame.Delivery{
	{DeliveryID: deliveryID, Event: webhook.EventType(job.Completed), Version: version,
		Job: must(json.Marshal(job.Document{
			JobID: deliveryID, Type: topic.WebhookType, State: job.Completed, Attempt: 1, MaxAttempts: 12,
			CreatedAt: endedAt, UpdatedAt: endedAt, StartedAt: &endedAt, FinishedAt: &endedAt, Result: json.RawMessage(
				`{"status":204}`),
			Attempts: []job.Attempt{
				{Number: 1, Worker: workerID, StartedAt: endedAt, EndedAt: &endedAt, Outcome: job.OutcomeCompleted},
			},
		}))},
}}

var unsubscribed = frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: "3", Jobs: []string{jobID}}

// documents holds the job's document in each state.
var documents = func() map[string]job.Document {
	pending := job.Document{JobID: jobID, Type: "report.generate", State: job.Pending, Attempt: 1, MaxAttempts: 3,
		CreatedAt: acceptedAt, UpdatedAt: acceptedAt}
	processing := pending
	processing.State, processing.StartedAt, processing.UpdatedAt = job.Processing, &claimedAt, claimedAt.Add(time.Second)
	processing.Progress = collecting
	processing.Attempts = []job.Attempt{{Number: 1, Worker: workerID, StartedAt: claimedAt}}
	retrying := processing
	retryAt := endedAt.Add(after.Duration())
	retrying.State = job.Retrying
	retrying.Attempt = 2
	retrying.RetryAt = &retryAt
	retrying.UpdatedAt = endedAt
	retrying.Error = &job.Error{Code: "source_busy", Message: "the sales database is in maintenance", Retryable: true}
	retrying.Attempts = ended(processing.Attempts, job.OutcomeFailed, retrying.Error)
	completed := processing
	completed.State, completed.FinishedAt, completed.UpdatedAt = job.Completed, &endedAt, endedAt
	completed.Progress = &job.Progress{Percent: 100, Message: "done", Current: 31, Total: 31, Stage: "done"}
	completed.Result, completed.ResultURL = json.RawMessage(resultJSON), "/v1/jobs/"+jobID+"/result"
	completed.Streams = streamTotals
	completed.Attempts = ended(processing.Attempts, job.OutcomeCompleted, nil)
	failed := processing
	failed.State = job.Failed
	failed.Attempt = 3
	failed.FinishedAt = &endedAt
	failed.UpdatedAt = endedAt
	failed.Error = &job.Error{
		Code: job.CodeWorkerLost, Message: "the worker was not heard of for a lease", Retryable: true,
	}
	failed.Attempts = ended(processing.Attempts, job.OutcomeLost, failed.Error)
	failed.Attempts[0].Number = 3
	return map[string]job.Document{
		"pending": pending, "processing": processing, "retrying": retrying, "completed": completed,
		"failed": failed,
	}
}()

var list = frame.JobList{
	Jobs:       []json.RawMessage{must(json.Marshal(documents["processing"])), must(json.Marshal(documents["pending"]))},
	Versions:   []int64{4713, 41},
	NextCursor: "AZ3Up9JqAAABnB2wAcAwMTljMWRiMA", AsOf: endedAt,
}

var stats = frame.Stats{
	Counts: []frame.Count{
		{Type: "report.generate", Lane: "reports", State: job.Pending, Jobs: 2},
		{Type: "report.generate", Lane: "reports", State: job.Completed, Jobs: 1048},
	},
	Lanes: []frame.Lane{{Lane: "default"}, {Lane: "reports", Workers: 3, Waiting: 7, OldestSince: &acceptedAt}},
	AsOf:  endedAt,
}

var ticket = frame.Ticket{
	Ticket: "K5TGWH3QVN2JXB7MZLC4RYDPAEF6USOI2K4M7Q3XWTHNVBLYCGJD",
	URL:    "/v1/ws?ticket=K5TGWH3QVN2JXB7MZLC4RYDPAEF6USOI2K4M7Q3XWTHNVBLYCGJD", ExpiresAt: endedAt,
}

var grantRequest = frame.GrantRequest{
	GrantOptions: frame.GrantOptions{TTL: 600, Permissions: []string{"read"}}, Jobs: []string{jobID},
}

var granted = frame.Grant{
	Token: "eyJhbGciOiJIUzI1NiIsInR5cCI6ImFja3dpcmUtZ3JhbnQifQ.eyJ0ZW5hbnQiOiJhY21lIn0.c2lnbmF0dXJl", ExpiresAt: endedAt,
}

var ackWithGrant = func() frame.AckFrame {
	a := ack("", "")
	a.Grant = &granted
	return a
}()

// history is that of a job whose first run lost its lease and went on all the same.
var history = frame.History{JobID: jobID, NextCursor: "MDE5YzFkYjAgbCAx", AsOf: endedAt, Events: []frame.HistoryEvent{
	{Offset: 40, At: acceptedAt, Type: event.Accepted, By: event.ByGateway, Subject: "alice", Applied: new(true),
		TraceID: "0af7651916cd43dd8448eb211c80319c",
		State:   job.Pending, Attempt: 1},
	{Offset: 58, At: endedAt, Type: event.Progress, By: event.ByWorker, Worker: "w-1", Run: runID, Dispatch: 1,
		Progress: json.RawMessage(`{"percent":40}`), Applied: new(false), Reason: "old_dispatch",
		Detail: "The job had been handed out again since: the run was given up.", State: job.Processing, Attempt: 2},
}}

var why = frame.Why{
	JobID: jobID, State: job.Pending, Reason: frame.BehindOthers, Lane: "reports", Workers: new(3), Waiting: new(int64(7)),
	Ahead:  2,
	Detail: "2 requests are before this one in its partition of lane reports, which has 3 workers.", AsOf: endedAt,
}

func ended(runs []job.Attempt, o job.Outcome, err *job.Error) []job.Attempt {
	run := runs[0]
	run.EndedAt, run.Outcome, run.Error = &endedAt, o, err
	return []job.Attempt{run}
}

// problem is an example of each error.
func problem(c code.Code) frame.Problem {
	p := frame.NewProblem(c, details[c])
	switch c {
	case code.ValidationFailed:
		p.Errors = []frame.FieldError{{Pointer: "/to", Detail: "'January' is not valid date"}}
	case code.Indeterminate:
		p.JobID = jobID
	case code.CountDiffers:
		p.Count = new(int64(701))
	}
	if c.Info().HTTP == 503 || c == code.RateLimited {
		p.RetryAfter = 1
	}
	return p
}

var details = map[code.Code]string{
	code.InvalidFrame:         "payload is missing",
	code.UnknownFrame:         `"submitt" is not a frame type`,
	code.ValidationFailed:     "the payload does not fit the schema of report.generate",
	code.UnknownJobType:       `"report.generat" is not a job type here`,
	code.PayloadTooLarge:      "the payload has 300000 bytes, type report.generate takes 262144",
	code.Unauthenticated:      "a valid token is needed",
	code.Forbidden:            "pages of this origin may not open a socket",
	code.UnsupportedMediaType: "the body must be application/json",
	code.UpgradeRequired:      "this is the route of WebSockets: a handshake is needed",
	code.IdempotencyKeyReused: "the key was used with another payload",
	code.CountDiffers:         "701 jobs match, not 700",
	code.LimitExceeded:        "64 submits are in flight",
	code.Overloaded:           "no more sockets are taken now",
	code.Unavailable:          "the tracker does not answer",
	code.Indeterminate:        "the broker did not answer in time",
}

func headerMap(headers []topic.Header) map[string]string {
	m := map[string]string{}
	for _, h := range headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

// requestAgain decodes the headers of a request into a topic.Request and encodes them again.
func requestAgain(b []byte) ([]byte, error) {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	var headers []topic.Header
	for k, v := range m {
		headers = append(headers, topic.Header{Key: k, Value: []byte(v)})
	}
	r, err := topic.ParseRequest(m[topic.HeaderID], headers)
	if err != nil {
		return nil, err
	}
	if headers, err = r.Headers(); err != nil {
		return nil, err
	}
	return json.Marshal(headerMap(headers))
}

// audits are records of the topic audit.
var audits = []audit.Record{
	{
		V: audit.Version, At: auditedAt, Deed: audit.Erased, Outcome: audit.OK, Tenant: "acme", Subject: "carol",
		TokenID: runID,
		JobID:   jobID, JobType: "report.generate", Owner: &audit.Owner{Tenant: "acme", Subject: "alice"},
		RequestID: "8c1d6f0e-2b7a-4f0e-9a51-0d6f1c2e3b4a",
	},
	{
		V: audit.Version, At: auditedAt, Deed: audit.GrantMade, Outcome: audit.OK, Tenant: "acme", Subject: "carol",
		TokenID: runID,
		Grant: &audit.Grant{ID: "NCDYHPLS3EGJ5KQ2WXM7TBVRZ4", Jobs: []string{jobID}, Permissions: []string{"read"},
			Expires: auditedAt.Add(10 * time.Minute)},
		RequestID: "8c1d6f0e-2b7a-4f0e-9a51-0d6f1c2e3b4a",
	},
	{
		V: audit.Version, At: auditedAt, Deed: audit.PayloadRead, Outcome: audit.OK, Tenant: "acme", Subject: "carol",
		TokenID: runID,
		JobID:   jobID, JobType: "report.generate", Owner: &audit.Owner{Tenant: "acme", Subject: "alice"},
		RequestID: "8c1d6f0e-2b7a-4f0e-9a51-0d6f1c2e3b4a",
	},
	{
		V: audit.Version, At: auditedAt, Deed: audit.DeadRequeued, Outcome: audit.OK, Tenant: "acme", Subject: "carol",
		TokenID: runID, JobID: jobID, DeadLetter: "0-41", RequestID: "8c1d6f0e-2b7a-4f0e-9a51-0d6f1c2e3b4a",
	},
	{
		V: audit.Version, At: auditedAt, Deed: audit.BulkOrdered, Outcome: audit.OK, Tenant: "acme", Subject: "carol",
		TokenID: runID, JobID: jobID, JobType: topic.BulkType, Owner: &audit.Owner{Tenant: "acme", Subject: "carol"},
		Bulk:      &audit.Bulk{Action: "retry", Filter: map[string][]string{"state": {"failed"}}, Tenant: "acme", Jobs: 700},
		RequestID: "8c1d6f0e-2b7a-4f0e-9a51-0d6f1c2e3b4a",
	},
}

var bulkAnswer = frame.BulkAnswer{
	Action: frame.BulkRetry, Count: 700, Examples: []string{jobID}, JobID: jobID, State: "pending",
	StatusURL: "/v1/jobs/" + jobID,
}

// deadRecord is a dead letter: a request whose headers are malformed.
var deadRecord = func() frame.DeadRecord {
	key, value := frame.RawOf([]byte(jobID)), frame.RawOf(submitRequest.Payload)
	return frame.DeadRecord{
		DeadLetter: frame.DeadLetter{ID: "0-41", At: endedAt, Reason: "undecodable", Detail: "header policy: unexpected end",
			By: "processor", Topic: "ackwire.requests.default", Partition: "3", Offset: "1207", JobID: jobID, Request: true,
			Bytes: int64(len(submitRequest.Payload))},
		Key: &key, Value: &value,
		Headers: []frame.DeadHeader{{Name: topic.HeaderID, Raw: frame.RawOf([]byte(jobID))},
			{Name: topic.HeaderPolicy, Raw: frame.RawOf([]byte("\xff{"))}},
	}
}()

var requeuedRecord = func() frame.DeadRequeued {
	partition, offset := int32(3), int64(1290)
	return frame.DeadRequeued{Outcome: frame.RequeueWritten, Topic: "ackwire.requests.default", Partition: &partition,
		Offset: &offset}
}()

var auditedAt = time.Date(2026, 2, 2, 9, 31, 0, 0, time.UTC)

// activityAnswer is an answer about the last hour of a lane, with something in its last minutes.
var activityAnswer = func() frame.Activity {
	ending := func(n ...int64) []int64 {
		return append(make([]int64, frame.ActivityMinutes-len(n)), n...)
	}
	return frame.Activity{
		From: endedAt.Truncate(time.Minute).Add(-59 * time.Minute), Since: endedAt.Add(-2 * time.Hour),
		Lanes: []frame.LaneActivity{{Lane: "reports", Accepted: ending(12, 9, 4), Completed: ending(11, 8),
			Failed: ending(3), Cancelled: ending()}},
		AsOf: endedAt,
	}
}()

// workersAnswer is an answer about workers: one that has announced itself, and a stranger.
var workersAnswer = func() frame.Workers {
	started, progressed := acceptedAt.Add(-time.Hour), endedAt.Add(-time.Second)
	percent, wait := 40.0, 1.5
	return frame.Workers{
		Workers: []frame.Worker{
			{Worker: "reports-1", Announced: true, Lanes: []frame.WorkerSlot{{Lane: "reports", Slots: 64},
				{Lane: "webhooks", Slots: 64}}, Running: 1, Version: "1.2.3", StartedAt: &started, SeenAt: endedAt,
				Holds: []frame.HeldJob{{JobID: jobID, Tenant: "acme", Type: "report.generate", Lane: "reports", Attempt: 1,
					Since: acceptedAt, LastSign: endedAt, ProgressAt: &progressed, Percent: &percent, Stage: "load"}},
				PausedEndpoints: []frame.PausedEndpoint{{Tenant: "acme", Endpoint: "https://app.example/hooks",
					Until: endedAt.Add(30 * time.Second), Failures: 5}}},
			{Worker: "stranger", Lanes: []frame.WorkerSlot{}, SeenAt: endedAt, Holds: []frame.HeldJob{}},
		},
		Lanes: []frame.WorkerLane{{Lane: "reports", Workers: 1, Slots: 64, Running: 1, Waiting: 7, OldestWait: &wait},
			{Lane: "video"}},
		AsOf: endedAt,
	}
}()

// systemAnswer is an answer about processes, of a moment without a tracker for two partitions.
var systemAnswer = func() frame.System {
	started, unowned := acceptedAt.Add(-time.Hour), 2
	return frame.System{
		Gateways: []frame.Process{{Name: "gateway-0-k3v7ma", Version: "1.2.3", Revision: "c0ffee", StartedAt: &started,
			Self: true}},
		Trackers: []frame.SystemTracker{{Partitions: 4}, {Process: &frame.Process{Name: "tracker-0-p2x9qd", Version: "1.2.3",
			Revision: "c0ffee", StartedAt: &started}, Partitions: 6, Restoring: 1, Answers: true}},
		Partitions: frame.SystemPartitions{Total: 12, Unowned: &unowned, UnownedSince: &acceptedAt},
		Kafka:      frame.SystemKafka{Reachable: true}, AsOf: endedAt,
	}
}()

var announcement = fleet.Announcement{
	V: fleet.Version, Worker: "reports-1", Lanes: []fleet.Lane{{Lane: "reports", Slots: 64},
		{Lane: "webhooks", Slots: 64}}, Running: 1, Version: "1.2.3", StartedAt: acceptedAt,
	Paused: []fleet.Paused{{Tenant: "acme", Endpoint: "https://app.example/hooks", Until: endedAt, Failures: 5}},
}

var webhooksAnswer = func() frame.Webhooks {
	until, made := endedAt.Add(30*time.Second), endedAt
	return frame.Webhooks{
		Endpoints: []frame.WebhookEndpoint{{Tenant: "acme", Endpoint: "https://app.example/hooks", PausedUntil: &until,
			PausedBy: []string{"reports-1"}, Failures: 5, Failed: 1, Jobs: []string{jobID}, FirstAt: &made, LastAt: &made,
			LastError: &job.Error{Code: "webhook_rejected", Message: "the endpoint answered 500", Retryable: true}}},
		Tenants: []string{"acme"}, Since: acceptedAt, AsOf: endedAt,
	}
}()

var auditAnswer = frame.Audit{
	Records: []frame.AuditEntry{{ID: "0-12", WrittenAt: endedAt, Record: audit.Record{V: audit.Version, At: acceptedAt,
		Deed: audit.Cancelled, Outcome: audit.OK, Tenant: "acme", Subject: "carol", JobID: jobID}}},
	NextCursor: "0-11", Unreadable: 1,
}
