package ackwire

import (
	"context"
	"errors"
	"fmt"
	"mime"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Submitter is the part of a client that a [JobType] needs: Client and HTTPClient implement it.
type Submitter interface {
	// Submit hands a job to Ackwire and returns once it is durable.
	Submit(ctx context.Context, jobType string, payload any, opts ...SubmitOption) (*Job, error)
	// Job returns a handle for a job by its ID. It sends nothing to the server.
	Job(id string) *Job
}

// JobType declares a job type once, for the program that submits its jobs and the one that works on them: its name,
// and the Go types of its payload (In) and its result (Out), which encoding/json must be able to write and read. Make
// it with [Type], in a package that both programs import:
//
//	var RenderInvoice = ackwire.Type[Invoice, Rendered]("invoice.render")
type JobType[In, Out any] struct {
	name string
}

// Type declares a job type. It panics when name is empty: that is a mistake in the program.
func Type[In, Out any](name string) JobType[In, Out] {
	if name == "" {
		panic("ackwire: a job type needs a name")
	}
	return JobType[In, Out]{name: name}
}

// Name returns the job type's name, such as "invoice.render".
func (t JobType[In, Out]) Name() string { return t.name }

// Types returns zero values of the payload's and the result's types. With it a generic function can infer both types,
// as the worker library does when it registers a handler.
func (t JobType[In, Out]) Types() (in In, out Out) { return in, out }

// Submit hands a job to Ackwire and returns once it is durable; options and errors are those of Client.Submit.
func (t JobType[In, Out]) Submit(
	ctx context.Context, client Submitter, in In, opts ...SubmitOption,
) (*TypedJob[Out], error) {
	j, err := client.Submit(ctx, t.name, in, opts...)
	if err != nil {
		return nil, err
	}
	return &TypedJob[Out]{Job: j}, nil
}

// Job returns a typed handle for a job of this type by its ID. It sends nothing to the server.
func (t JobType[In, Out]) Job(client Submitter, id string) *TypedJob[Out] {
	return &TypedJob[Out]{Job: client.Job(id)}
}

// TypedJob is a Job that knows the type of its result. Its Result hides Job.Result, which opens the result as a stream:
// call t.Job.Result for that.
type TypedJob[Out any] struct {
	*Job
}

// Result waits for the job's end and returns its result, or the zero value if it completed without one. An integer
// field accepts any whole number, however it is written (such as 1.0).
//
// If the job failed, was cancelled or does not exist, the error is a [*JobError]. Other errors are those of Job.Wait,
// and those of a result that cannot be decoded into Out, such as a file that the handler attached without returning a
// value.
func (t *TypedJob[Out]) Result(ctx context.Context) (Out, error) {
	var out Out
	st, err := t.Wait(ctx)
	if e, gone := asNotFound(err); gone {
		return out, &JobError{JobID: t.ID, notFound: e}
	}
	if err != nil {
		return out, err
	}
	if err := st.Err(); err != nil {
		return out, err
	}
	raw := []byte(st.Result)
	if len(raw) == 0 && st.ResultURL != "" { // too large for the document
		if raw, err = t.storedResult(ctx); err != nil {
			return out, err
		}
	}
	if len(raw) == 0 {
		return out, nil
	}
	if err := strict.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("ackwire: result of %s: %w", t.ID, err)
	}
	return out, nil
}

// maxStoredResult bounds a result that is read from the blob store to be decoded, in bytes.
const maxStoredResult = 64 << 20

func (t *TypedJob[Out]) storedResult(ctx context.Context) ([]byte, error) {
	content, err := t.Job.Result(ctx)
	if e, gone := asNotFound(err); gone {
		return nil, &JobError{JobID: t.ID, notFound: e}
	}
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if media, _, _ := mime.ParseMediaType(content.ContentType); media != "application/json" {
		return nil, fmt.Errorf("ackwire: result of %s: a file of the type %q: read it as a stream", t.ID, media)
	}
	b, err := readAtMost(content, maxStoredResult)
	if err != nil {
		return nil, fmt.Errorf("ackwire: result of %s: %w", t.ID, err)
	}
	return b, nil
}

// JobError says that a job has no result: it failed, it was cancelled, or it does not exist. TypedJob.Result and
// [Status.Err] return it.
type JobError struct {
	// JobID is the job's ID.
	JobID string
	// State is job.Failed or job.Cancelled. It is empty if the job was not found: its retention is over, or this tenant
	// never had a job with this ID. Such an error matches ErrNotFound.
	State job.State
	// Code and Message are those of the job's last error, if it had one. Code is the handler's own, or one of
	// Ackwire's, such as job.CodeDeadlineExceeded or job.CodeWorkerLost.
	Code, Message string
	// Attempt is how many attempts were made.
	Attempt int

	notFound *Error
}

// Err returns a [*JobError] if the job failed or was cancelled. It returns nil for a job that completed or has not
// ended.
func (s Status) Err() error {
	if s.State != job.Failed && s.State != job.Cancelled {
		return nil
	}
	e := &JobError{JobID: s.JobID, State: s.State, Attempt: s.Attempt}
	if s.Error != nil {
		e.Code, e.Message = s.Error.Code, s.Error.Message
	}
	return e
}

// asNotFound reports whether err is the server's answer that there is no such job.
func asNotFound(err error) (*Error, bool) {
	e, answered := errors.AsType[*Error](err)
	return e, answered && e.Code == code.NotFound
}

// Error implements error.
func (e *JobError) Error() string {
	if e.State == "" {
		return "ackwire: job " + e.JobID + " was not found: it has expired or never existed"
	}
	s := "ackwire: job " + e.JobID + " was cancelled"
	if e.State == job.Failed {
		s = "ackwire: job " + e.JobID + " failed"
	}
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Unwrap returns the server's answer if the job was not found, else nil.
func (e *JobError) Unwrap() error {
	if e.notFound == nil {
		return nil
	}
	return e.notFound
}
