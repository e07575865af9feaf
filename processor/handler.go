package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// RawHandler works on one job. payload has the bytes that the client sent. The result is JSON, or empty for none.
type RawHandler func(ctx context.Context, job *Job, payload []byte) (json.RawMessage, error)

// Handle registers the handler of a job type. The payload is decoded from JSON into In, where an integer field accepts
// any whole number, such as 1.0; a payload that cannot be decoded is a permanent failure with the code invalid_payload.
// The value that fn returns is encoded as the job's result.
//
// Execution is at least once: fn may run again for the same job, on another worker, even
// while an earlier run that was cut off has not noticed it yet. Job.Dispatch and Job.Run are
// the fencing token for its side effects. When ctx ends fn must return soon; context.Cause
// says why it ended. A handler that does not return keeps its slot.
//
// Handle panics if the type is empty or registered twice, or if Run was called before: these are
// mistakes in the program.
func Handle[In, Out any](p *Processor, jobType string, fn func(ctx context.Context, job *Job, in In) (Out, error)) {
	HandleRaw(p, jobType, func(ctx context.Context, j *Job, payload []byte) (json.RawMessage, error) {
		var in In
		if err := strict.Unmarshal(payload, &in); err != nil {
			return nil, WithCode(job.CodeInvalidPayload, Permanent(fmt.Errorf("decode payload: %w", err)))
		}
		out, err := fn(ctx, j, in)
		if err != nil {
			return nil, err
		}
		result, err := plainjson.Marshal(out)
		if err != nil {
			return nil, WithCode(CodeInvalidResult, Permanent(fmt.Errorf("encode result: %w", err)))
		}
		return result, nil
	})
}

// JobType declares a job type with the Go types of its payload (In) and of its result (Out). The value that
// ackwire.Type returns implements it, so that the program that submits jobs and the worker share one declaration:
//
//	var RenderInvoice = ackwire.Type[Invoice, Rendered]("invoice.render")
type JobType[In, Out any] interface {
	// Name returns the job type's name, such as "invoice.render".
	Name() string
	// Types returns zero values; the compiler infers In and Out from it.
	Types() (In, Out)
}

// HandleType is like Handle, for a declared job type: a function whose types differ from the declaration's does not
// compile.
func HandleType[In, Out any](
	p *Processor, t JobType[In, Out], fn func(ctx context.Context, job *Job, in In) (Out, error),
) {
	Handle(p, t.Name(), fn)
}

// Middleware wraps a handler, for something that all handlers share, such as logging or checks.
type Middleware func(next RawHandler) RawHandler

// Use wraps every handler of the processor, whether registered before or after, in m. The first middleware is the
// outermost. It panics if Run was called before.
func (p *Processor) Use(m ...Middleware) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		panic("processor: Use after Run")
	}
	p.middleware = append(p.middleware, m...)
}

// HandleRaw is like Handle, but without decoding and encoding. The result of fn must be strict JSON (RFC 7493: UTF-8,
// no duplicate keys, no lone surrogates, numbers in the range of a float64), else the job fails with the code
// invalid_result.
func HandleRaw(p *Processor, jobType string, fn RawHandler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.started:
		panic("processor: Handle " + jobType + " after Run")
	case jobType == "" || fn == nil:
		panic("processor: Handle without a job type or a function")
	case p.handlers[jobType] != nil:
		panic("processor: two handlers for job type " + jobType)
	}
	p.handlers[jobType] = fn
}

// handler returns the handler of a job type, with its middleware; nil when there is none. It takes no lock, since it is
// called only after Run has begun, when the handlers do not change any more.
func (p *Processor) handler(jobType string) RawHandler {
	h, ok := p.handlers[jobType]
	if !ok {
		return nil
	}
	for _, m := range slices.Backward(p.middleware) {
		h = m(h)
	}
	if p.byType.check != nil {
		h = checked(h, p.byType.check)
	}
	return h
}

// checked wraps h, which includes all middleware, with a check of its results: nothing can change a result after it.
func checked(h RawHandler, check func(jobType string, result json.RawMessage) error) RawHandler {
	return func(ctx context.Context, j *Job, payload []byte) (json.RawMessage, error) {
		result, err := h(ctx, j, payload)
		if err != nil || len(result) == 0 && j.attached() != nil {
			return result, err
		}
		if err := check(j.Type, result); err != nil {
			return nil, invalidResult(err)
		}
		return result, nil
	}
}

// invalidResult returns the failure of a run whose result was refused by a check.
func invalidResult(why error) error {
	return WithCode(CodeInvalidResult, Permanent(errors.New(event.InvalidResult(why).Message)))
}

// errPanicked is the failure of a handler that panicked. It does not contain the panic's value, which clients must not
// see.
var errPanicked = WithCode(job.CodeHandlerPanic, errors.New("the handler panicked; the worker's log has the stack"))

// call runs the handler and turns a panic into errPanicked. The panic's value and stack are only logged.
func (h RawHandler) call(ctx context.Context, j *Job, payload []byte) (result json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			j.own.Error("handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			result, err = nil, errPanicked
		}
	}()
	return h(ctx, j, payload)
}
