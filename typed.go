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

// Submitter is what a [JobType] needs of a client: both Client and HTTPClient are one.
type Submitter interface {
	// Submit hands a job to Ackwire and returns once it is durable.
	Submit(ctx context.Context, jobType string, payload any, opts ...SubmitOption) (*Job, error)
	// Job returns a handle for a job by its ID. It asks the server nothing.
	Job(id string) *Job
}

// JobType declares a job type once, for the program that submits its jobs and the one that works on them: its name,
// its payload (In) and its result (Out). Both are whatever encoding/json can write and read. Make it with [Type], in
// a package that both import:
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

// Types returns zero values of the payload's and the result's types, from which a generic function infers them. The
// worker library registers handlers so.
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

// Job returns a typed handle for a job of this type that was submitted before, by its ID. It asks the server nothing.
func (t JobType[In, Out]) Job(client Submitter, id string) *TypedJob[Out] {
	return &TypedJob[Out]{Job: client.Job(id)}
}

// TypedJob is a Job that knows the type of its result. Job.Result, which opens the result as a stream, is reached
// as t.Job.Result.
type TypedJob[Out any] struct {
	*Job
}

// Result waits for the job's end and returns what its handler returned. A job that completed without a result is the
// zero value. Whole numbers are taken where an integer is meant, however they are written (1.0).
//
// A job that failed, was cancelled or is not there is a [*JobError]. A result that does not fit Out is any other
// error, and so is a file that a handler attached and returned nothing beside. The errors of Job.Wait come as they
// are.
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

// JobError says that a job has no result: it failed, it was cancelled, or it is not there. It is what TypedJob.Result
// returns for them, and what [Status.Err] makes of a terminal document.
type JobError struct {
	// JobID is the job's ID.
	JobID string
	// State is job.Failed or job.Cancelled. It is empty for a job that is not there: its retention is over, or there
	// never was one of this ID for this tenant. Such an error matches ErrNotFound.
	State job.State
	// Code and Message are those of the job's last error, if it had one: the handler's own, or a code of Ackwire's
	// such as job.CodeDeadlineExceeded or job.CodeWorkerLost.
	Code, Message string
	// Attempt is how many attempts were made.
	Attempt int

	notFound *Error
}

// Err is the error that a terminal document stands for: a [*JobError] for a job that failed or was cancelled. It is
// nil for one that completed, and for one that has not ended.
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

// asNotFound finds the server's answer that there is no such job.
func asNotFound(err error) (*Error, bool) {
	e, answered := errors.AsType[*Error](err)
	return e, answered && e.Code == code.NotFound
}

// Error implements error.
func (e *JobError) Error() string {
	if e.State == "" {
		return "ackwire: job " + e.JobID + " is not there: it has expired, or never was"
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

// Unwrap returns the server's answer for a job that is not there.
func (e *JobError) Unwrap() error {
	if e.notFound == nil {
		return nil
	}
	return e.notFound
}
